-- 1: the issue's first message in its lane begins a thread, later ones reply to it. 0: each message stands by itself.
alter table deliveries add column style integer not null default 0;

-- The messages that began the threads.
create table threads (
    id      integer primary key,     -- in the order of their begin
    lane    integer not null,
    issue   text    not null,
    at      integer not null,
    receipt text    not null,        -- JSON
    unique (lane, issue)
);
