-- What issues are linked to in Tracker: channels, reviews, benches, by their keys.
create table links (
    id       integer primary key,    -- in the order of their begin
    object   text    not null,
    issue    text    not null,
    at       integer not null,
    by_login text,                   -- who linked it, where that is known
    unique (object, issue)
);
create index links_of_issue on links (issue);

-- What is last known of a review or a bench. `at`: when it was so; `told_at`: when it was told.
create table objects (
    key     text    primary key,
    at      integer not null,
    told_at integer not null,
    state   text    not null         -- JSON
) without rowid;
create index objects_told on objects (told_at);
