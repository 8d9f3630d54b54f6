-- A delivery may also be an action on an issue, or an event's place in the line of those that are to be routed; and it may
-- end filtered (3).
alter table deliveries add column duty text;     -- JSON: the action, or that it is to be routed; null for a message
alter table deliveries
    drop constraint deliveries_state_check,
    drop constraint deliveries_check1,
    add constraint deliveries_state check (state between 0 and 3) not valid,
    add constraint deliveries_reason check (state < 2 or reason is not null) not valid;
-- What is kept of an issue's lanes, and where something is to be done in them.
create index of_issue_lanes on deliveries (channel) where duty is not null;
create index duties on deliveries (channel, id) where state = 0 and duty is not null;

alter table events add column to_route boolean not null default false;

-- The greatest number known for a name: which verdict on a review was the last, which comment on an issue.
create table marks (
    name   text   primary key,
    number bigint not null,
    at     bigint not null
);
create index marks_at on marks (at);
