-- When a call was made, where a look into its sender's own log may meet it again; null for all others. By time and not by
-- fingerprint: what is accepted together lies together.
alter table events add column called_at integer;
create index called on events (called_at, fingerprint) where called_at is not null;
