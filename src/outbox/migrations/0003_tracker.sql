-- A delivery may also be an action on an issue, or an event's place in the line of those that are to be routed; and it may
-- end filtered. SQLite cannot change a check: the table is made anew.
create table deliveries_anew (
    id         integer primary key,
    event      integer not null,
    lane       integer not null,
    channel    integer not null,
    state      integer not null default 0,  -- 0 pending, 1 delivered, 2 dead, 3 filtered
    planned_at integer not null,
    give_up_at integer not null,
    settled_at integer not null,            -- when it was last settled, planned_at before: the row keeps its size
    attempts   integer not null default 0,
    unclear    integer not null default 0,  -- it may stand in the channel without a receipt
    route      text    not null,
    template   text    not null,
    reason     text,
    message    integer,                     -- what was rendered for it, once that was settled
    style      integer not null default 0,  -- 1: the issue's first message in its lane begins a thread, later ones reply to it
    duty       text,                        -- JSON: the action, or that it is to be routed; null for a message
    check (state >= 0 and state <= 3),      -- not `in (…)`: SQLite would build a table of the four for each row
    check (state <> 1 or message is not null),
    check (state < 2 or reason is not null)
);
insert into deliveries_anew (id, event, lane, channel, state, planned_at, give_up_at, settled_at, attempts, unclear, route,
                             template, reason, message, style)
    select id, event, lane, channel, state, planned_at, give_up_at, settled_at, attempts, unclear, route, template, reason,
           message, style from deliveries;
drop table deliveries;
alter table deliveries_anew rename to deliveries;
create index pending on deliveries (id >> 10, lane, id, channel) where state = 0;
create index dead on deliveries (channel, id) where state = 2;
-- What is kept of an issue's lanes.
create index of_issue_lanes on deliveries (channel) where duty is not null;

alter table events add column to_route integer not null default 0;

-- The greatest number known for a name: which verdict on a review was the last, which comment on an issue.
create table marks (
    name   text    primary key,
    number integer not null,
    at     integer not null
) without rowid;
create index marks_at on marks (at);

-- A lane that is forgotten is looked for here, by the reference.
create index led on channels (lane);
