-- Times are milliseconds since 1970. Ids of events and deliveries are given by the one writer from ledger.last_*.

create table ledger (
    id            integer primary key check (id = 1),
    last_event    integer not null default 0,
    last_delivery integer not null default 0,
    closed        integer not null default 1,   -- 0: a process has the store, or died with it
    seen_to       integer not null default 0,   -- the fingerprints of events up to this one are in `seen`
    received integer not null default 0, routed     integer not null default 0, to_route integer not null default 0,
    ignored  integer not null default 0, duplicate  integer not null default 0, unreadable integer not null default 0,
    planned  integer not null default 0, delivered  integer not null default 0, pending  integer not null default 0,
    dead     integer not null default 0, filtered   integer not null default 0, merged   integer not null default 0,
    check (received = routed + to_route + ignored + duplicate + unreadable),
    check (planned = delivered + pending + dead + filtered + merged),
    check (pending >= 0)
);
insert into ledger (id) values (1);

create table events (
    id             integer primary key,
    source         text    not null,
    kind           text    not null,
    issue          text,
    received_at    integer not null,
    first_delivery integer,           -- its deliveries have this id and the ones after it
    deliveries     integer not null,
    fingerprint    blob    not null,
    until          integer not null,  -- the same call is a duplicate until then
    document       text    not null
);

-- Calls already taken, by what tells one from another. The newest are in `events` alone.
create table seen (
    fingerprint blob    primary key,
    event       integer not null,
    until       integer not null
) without rowid;

create table unreadable (
    id     integer primary key,
    source text    not null,
    at     integer not null,
    why    text    not null,
    head   blob    not null           -- the first 64 KiB
);

create table lanes (
    id         integer primary key,
    messenger  text    not null,
    account    text    not null,
    key        text    not null unique,
    hold_until integer,
    hold_reason text,
    hold_needs_a_person integer not null default 0,
    check ((hold_until is null) = (hold_reason is null))
);

create table channels (
    id   integer primary key,
    name text    not null unique,
    lane integer not null references lanes (id)
);

create table accounts (
    name        text    primary key,
    hold_until  integer not null,
    hold_reason text    not null,
    hold_needs_a_person integer not null
) without rowid;

create table deliveries (
    id         integer primary key,
    event      integer not null,
    lane       integer not null,
    channel    integer not null,
    state      integer not null default 0,  -- 0 pending, 1 delivered, 2 dead
    planned_at integer not null,
    give_up_at integer not null,
    settled_at integer not null,            -- when it was last settled, planned_at before: the row keeps its size
    attempts   integer not null default 0,
    unclear    integer not null default 0,  -- it may stand in the channel without a receipt
    route      text    not null,
    template   text    not null,
    reason     text,
    message    integer,                     -- what was rendered for it, once that was settled
    check (state >= 0 and state <= 2),      -- not `in (…)`: SQLite would build a table of the three for each row
    check (state <> 1 or message is not null),
    check (state <> 2 or reason is not null)
);
-- What was rendered for a delivery. Apart from it and in the order of the settles, so that those of one commit lie on a
-- few pages, however far apart the heads of the lanes are.
create table messages (
    id    integer primary key,
    parts text    not null                  -- JSON: the parts with their receipts
);
-- By segments of 1,024 ids: what is accepted together, and the heads of all lanes, lie on few pages then. By lane alone
-- each accept would write a page for each of its lanes.
create index pending on deliveries (id >> 10, lane, id, channel) where state = 0;
create index dead on deliveries (channel, id) where state = 2;

-- Attempts that failed, and those that a failure preceded.
create table attempts (
    delivery integer not null,
    number   integer not null,
    at       integer not null,
    took_ms  integer not null,
    outcome  text    not null,
    detail   text    not null,
    primary key (delivery, number)
) without rowid;

-- Telegram groups that became supergroups.
create table moved_chats (
    chat   integer primary key,
    now_is integer not null
);
