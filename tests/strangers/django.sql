-- A web application of the kind that Django makes: counters alone, generic foreign keys.

--- schema
CREATE TABLE django_content_type (id INTEGER PRIMARY KEY {auto}, app_label VARCHAR(100) NOT
    NULL, model VARCHAR(100) NOT NULL, CONSTRAINT django_ct_uniq UNIQUE (app_label, model));
CREATE TABLE auth_user (id INTEGER PRIMARY KEY {auto}, password VARCHAR(128) NOT NULL,
    last_login DATETIME(6), is_superuser TINYINT(1) NOT NULL, username VARCHAR(150) NOT NULL
    UNIQUE, date_joined DATETIME(6) NOT NULL);
CREATE TABLE auth_group (id INTEGER PRIMARY KEY {auto}, name VARCHAR(150) NOT NULL UNIQUE);
CREATE TABLE auth_user_groups (id INTEGER PRIMARY KEY {auto}, user_id INTEGER NOT NULL, group_id
    INTEGER NOT NULL, UNIQUE (user_id, group_id), FOREIGN KEY (user_id) REFERENCES auth_user
    (id), FOREIGN KEY (group_id) REFERENCES auth_group (id));
CREATE TABLE blog_post (id INTEGER PRIMARY KEY {auto}, author_id INTEGER NOT NULL, slug
    VARCHAR(50) NOT NULL UNIQUE, title VARCHAR(200) NOT NULL, updated_at DATETIME(6) NOT NULL,
    reply_to_id INTEGER, FOREIGN KEY (author_id) REFERENCES auth_user (id), FOREIGN KEY
    (reply_to_id) REFERENCES blog_post (id));
CREATE TABLE taggit_tag (id INTEGER PRIMARY KEY {auto}, slug VARCHAR(100) NOT NULL UNIQUE);
CREATE TABLE taggit_item (id INTEGER PRIMARY KEY {auto}, object_id INTEGER NOT NULL,
    content_type_id INTEGER NOT NULL, tag_id INTEGER NOT NULL, FOREIGN KEY (content_type_id)
    REFERENCES django_content_type (id), FOREIGN KEY (tag_id) REFERENCES taggit_tag (id));
CREATE TABLE django_session (session_key VARCHAR(40) NOT NULL PRIMARY KEY, session_data TEXT NOT
    NULL, expire_date DATETIME(6) NOT NULL);

--- here
INSERT INTO django_content_type VALUES (7, 'auth', 'user'), (8, 'blog', 'post');
INSERT INTO auth_user VALUES (1, 'x', NULL, '1', 'admin', '2020-01-01 00:00:00'), (2, 'x', NULL,
    '0', 'ann', '2020-01-02 00:00:00');
INSERT INTO auth_group VALUES (1, 'editors');
INSERT INTO auth_user_groups VALUES (1, 2, 1);
INSERT INTO blog_post VALUES (1, 2, 'hello', 'Hello', '2021-01-01 10:00:00.123456', NULL), (2,
    1, 're-hello', 'Re', '2021-01-02 10:00:00', 1);
INSERT INTO taggit_tag VALUES (1, 'red'), (2, 'blue');
INSERT INTO taggit_item VALUES (1, 1, 8, 1), (2, 2, 7, 2);
INSERT INTO django_session VALUES ('abc', 'd', '2030-01-01 00:00:00');

--- there
INSERT INTO django_content_type VALUES (1, 'blog', 'post'), (2, 'auth', 'user');
INSERT INTO auth_user VALUES (1, 'y', NULL, '1', 'admin', '2019-01-01 00:00:00'), (5, 'x', NULL,
    '0', 'ben', '2020-01-02 00:00:00');
INSERT INTO auth_group VALUES (3, 'editors'), (4, 'readers');
INSERT INTO auth_user_groups VALUES (1, 5, 3);
INSERT INTO blog_post VALUES (8, 5, 'hello', 'Hallo', '2022-01-01 10:00:00', NULL), (9, 5,
    'other', 'O', '2021-01-02 10:00:00', 8);
INSERT INTO taggit_tag VALUES (1, 'blue'), (2, 'green');
INSERT INTO taggit_item VALUES (1, 8, 1, 1), (2, 5, 2, 2);

--- here writes
UPDATE blog_post SET title = 'Hello 2', updated_at = '2026-02-02 00:00:00' WHERE slug = 'hello';
DELETE FROM taggit_item WHERE id = 2;
INSERT INTO auth_user_groups (user_id, group_id) SELECT u.id, g.id FROM auth_user u, auth_group
    g WHERE username = 'ben' AND name = 'readers';

--- there writes
INSERT INTO auth_user_groups (user_id, group_id) SELECT u.id, g.id FROM auth_user u, auth_group
    g WHERE username = 'ben' AND name = 'readers';
INSERT INTO taggit_item (object_id, content_type_id, tag_id) SELECT p.id, c.id, t.id FROM
    blog_post p, django_content_type c, taggit_tag t WHERE p.slug = 're-hello' AND model =
    'post' AND t.slug = 'red';
UPDATE auth_user SET last_login = '2026-03-03 03:03:03.5' WHERE username = 'admin';

--- shown
SELECT app_label, model FROM django_content_type;
SELECT username, password, last_login, date_joined, is_superuser FROM auth_user;
SELECT username, name FROM auth_user_groups m JOIN auth_user u ON u.id = user_id JOIN auth_group
    g ON g.id = group_id;
SELECT p.slug, p.title, username, p.updated_at, q.slug FROM blog_post p JOIN auth_user u ON u.id
    = p.author_id LEFT JOIN blog_post q ON q.id = p.reply_to_id;
SELECT model, t.slug, p.slug, NULL FROM taggit_item i JOIN taggit_tag t ON t.id = tag_id JOIN
    django_content_type c ON c.id = content_type_id JOIN blog_post p ON p.id = object_id WHERE
    model = 'post';
SELECT model, t.slug, username FROM taggit_item i JOIN taggit_tag t ON t.id = tag_id JOIN
    django_content_type c ON c.id = content_type_id JOIN auth_user p ON p.id = object_id WHERE
    model = 'user';

--- preset
[maps.models]
"post" = "blog_post"
"user" = "auth_user"
[tables.django_content_type]
key = ["app_label", "model"]
[tables.auth_user]
key = ["username"]
[tables.auth_group]
key = ["name"]
[tables.auth_user_groups]
key = ["user_id", "group_id"]
[tables.blog_post]
key = ["slug"]
[tables.taggit_tag]
key = ["slug"]
[tables.taggit_item]
conditional.object_id = { by = "content_type_id", column = "model", tables = "models" }
[tables."django_session"]
exclude = "of one server"
