-- A web application of the kind that Rails makes: no foreign keys, polymorphic references.

--- schema
CREATE TABLE schema_migrations (version VARCHAR(255) NOT NULL PRIMARY KEY);
CREATE TABLE ar_internal_metadata ("key" VARCHAR(255) NOT NULL PRIMARY KEY, value VARCHAR(255),
    created_at DATETIME(6) NOT NULL, updated_at DATETIME(6) NOT NULL);
CREATE TABLE users (id {bigint} PRIMARY KEY {auto}, email VARCHAR(255) NOT NULL, type
    VARCHAR(255), created_at DATETIME(6) NOT NULL, updated_at DATETIME(6) NOT NULL);
CREATE UNIQUE INDEX index_users_on_email ON users (email);
CREATE TABLE teams (id {bigint} PRIMARY KEY {auto}, code VARCHAR(20) NOT NULL, created_at
    DATETIME(6) NOT NULL, updated_at DATETIME(6) NOT NULL);
CREATE UNIQUE INDEX index_teams_on_code ON teams (code);
CREATE TABLE teams_users (team_id BIGINT NOT NULL, user_id BIGINT NOT NULL);
CREATE TABLE notes (id {bigint} PRIMARY KEY {auto}, user_id BIGINT, about_type VARCHAR(255),
    about_id BIGINT, body TEXT, created_at DATETIME(6) NOT NULL, updated_at DATETIME(6) NOT
    NULL);
CREATE INDEX index_notes_on_about ON notes (about_type, about_id);

--- here
INSERT INTO schema_migrations VALUES ('20200101000000'), ('20210101000000');
INSERT INTO ar_internal_metadata VALUES ('environment', 'production',
    '2020-01-01 00:00:00.000001', '2020-01-01 00:00:00');
INSERT INTO users VALUES (1, 'ann@x.org', NULL, '2020-01-01 00:00:00', '2020-01-01 00:00:00'),
    (2, 'ben@x.org', 'Admin', '2020-01-01 00:00:00', '2020-01-01 00:00:00');
INSERT INTO teams VALUES (1, 'red', '2020-01-01 00:00:00', '2020-01-01 00:00:00');
INSERT INTO teams_users VALUES (1, 1), (1, 2);
INSERT INTO notes VALUES (1, 2, 'Team', 1, 'of red', '2020-01-01 00:00:00',
    '2020-01-01 00:00:00'), (2, 2, 'User', 1, 'of ann', '2020-01-01 00:00:00',
    '2020-01-01 00:00:00');

--- there
INSERT INTO schema_migrations VALUES ('20200101000000');
INSERT INTO users VALUES (1, 'ben@x.org', 'User', '2020-01-01 00:00:00', '2021-01-01 00:00:00'),
    (2, 'cleo@x.org', NULL, '2020-01-01 00:00:00', '2020-01-01 00:00:00');
INSERT INTO teams VALUES (1, 'blue', '2020-01-01 00:00:00', '2020-01-01 00:00:00'), (2, 'red',
    '2020-01-01 00:00:00', '2020-01-01 00:00:00');
INSERT INTO teams_users VALUES (1, 1), (2, 2), (2, 1);
INSERT INTO notes VALUES (1, 1, 'Team', 1, 'of blue', '2020-01-01 00:00:00',
    '2020-01-01 00:00:00');

--- here writes
UPDATE users SET email = 'anna@x.org', updated_at = '2026-01-01 00:00:00' WHERE email =
    'ann@x.org' AND 1 = 0;
INSERT INTO notes (user_id, about_type, about_id, body, created_at, updated_at) SELECT u.id,
    'User', v.id, 'more', '2026-01-01 00:00:00', '2026-01-01 00:00:00' FROM users u, users v
    WHERE u.email LIKE 'cleo%' AND v.email LIKE 'ann%';
DELETE FROM teams_users WHERE user_id = 1;

--- there writes
UPDATE notes SET body = 'changed', updated_at = '2026-01-01 00:00:00' WHERE body = 'of red';
INSERT INTO teams (code, created_at, updated_at) VALUES ('green', '2026-01-01 00:00:00',
    '2026-01-01 00:00:00');
INSERT INTO teams_users SELECT t.id, u.id FROM teams t, users u WHERE code = 'green';

--- shown
SELECT * FROM schema_migrations;
SELECT email, type, created_at, updated_at FROM users;
SELECT code, updated_at FROM teams;
SELECT code, email FROM teams_users JOIN users u ON u.id = user_id JOIN teams t ON t.id =
    team_id;
SELECT count(*) FROM teams_users;
SELECT u.email, about_type, v.email, code, body FROM notes n LEFT JOIN users u ON u.id = user_id
    LEFT JOIN users v ON v.id = about_id AND about_type = 'User' LEFT JOIN teams t ON t.id =
    about_id AND about_type = 'Team';

--- preset
[maps.classes]
"User" = "users"
"Team" = "teams"
[tables.users]
key = ["email"]
[tables.teams]
key = ["code"]
[tables.teams_users]
references.user_id = "users"
references.team_id = "teams"
[tables.notes]
references.user_id = "users"
conditional.about_id = { column = "about_type", tables = "classes" }
