-- When a call was made and its fingerprint, where a look into its sender's own log may meet it again; null for all others.
alter table events
    add column called_at   bigint,
    add column fingerprint bytea;
create index called on events (called_at, fingerprint) where called_at is not null;
