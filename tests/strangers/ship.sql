-- A ship's log: no keys, views, and names of every kind.

--- schema
CREATE TABLE
    "Ship's Log" ("at" DATETIME NOT NULL, "from" VARCHAR(20), "to" VARCHAR(20), "wind (m/s)" DECIMAL(4,1), "100%" INTEGER, "a.b" VARCHAR(20), "日誌" TEXT, "say ""hi""" VARCHAR(9));
CREATE TABLE "log" (id INTEGER PRIMARY KEY {auto}, "new" VARCHAR(20), "old"
    VARCHAR(20), "select" INTEGER, row_key VARCHAR(20), tbl INTEGER, lsn INTEGER, ms
    INTEGER, c INTEGER, t INTEGER, "local" INTEGER, "stamp" VARCHAR(20), applying
    INTEGER, op INTEGER, uuid CHAR(36) NOT NULL UNIQUE);
CREATE TABLE "Crew" ("ID" INTEGER PRIMARY KEY {auto}, "UUID" CHAR(36) NOT NULL
    UNIQUE, "Name" VARCHAR(20), "Boss Of" INTEGER, FOREIGN KEY ("Boss Of")
    REFERENCES "Crew" ("ID"));
CREATE TABLE "a_table_with_a_name_that_is_as_long_as_an_engine_will_ever_take" (id INTEGER
    PRIMARY KEY {auto}, "ekat_reve_lliw_enigne_na_sa_gnol_sa_si_taht_eman_a_htiw_elbat_a"
    VARCHAR(20), crew INTEGER, uuid CHAR(36) NOT NULL UNIQUE, CONSTRAINT fk FOREIGN KEY (crew)
    REFERENCES "Crew" ("ID"));
CREATE TABLE "Größe" ("ä ö" VARCHAR(20) NOT NULL PRIMARY KEY, "group" INTEGER);
CREATE VIEW "who is who" AS SELECT "Name" FROM "Crew";

--- schema mysql
CREATE TABLE position (id INT NOT NULL AUTO_INCREMENT, y INT NOT NULL, uuid CHAR(36) NOT NULL,
    PRIMARY KEY (id, y)) PARTITION BY RANGE (y) (PARTITION a VALUES LESS THAN (2020), PARTITION
    b VALUES LESS THAN MAXVALUE);
CREATE TABLE mem (id INT PRIMARY KEY) ENGINE=MEMORY;
CREATE TABLE old (id INT PRIMARY KEY) ENGINE=MyISAM;
CREATE SEQUENCE seq;
CREATE TABLE versions (id INT PRIMARY KEY, x INT) WITH SYSTEM VERSIONING;

--- schema postgresql
CREATE TABLE "Log" (id INTEGER PRIMARY KEY, x VARCHAR(20));
CREATE TABLE position (y INT NOT NULL, v POINT) PARTITION BY RANGE (y);
CREATE MATERIALIZED VIEW mat AS SELECT 1 AS one;
CREATE TABLE pos_a PARTITION OF position FOR VALUES FROM (0) TO (2020);

--- schema sqlite
CREATE VIRTUAL TABLE search USING fts5(body);
CREATE TABLE implied (rowid TEXT, oid TEXT, x TEXT);

--- here
INSERT INTO "Ship's Log" VALUES ('2026-01-01
    00:00:00', 'Bergen', 'Oslo', 3.5, 5, 'x', '晴れ', NULL), ('2026-01-01
    00:00:00', 'Bergen', 'Oslo', 3.5, 5, 'x', '晴れ', NULL);
INSERT INTO "Crew" VALUES (1, '00000000-0000-4000-8000-000000000001', 'Ann', NULL), (2,
    '00000000-0000-4000-8000-000000000002', 'Ben', 1);
INSERT INTO "log" ("new", "old", "select", row_key, tbl, lsn, ms, c, t,
    "local", uuid) VALUES ('n', 'o', 1, 'r', 2, 3, 4, 5, 6, 7,
    '00000000-0000-4000-8000-000000000011');
INSERT INTO "a_table_with_a_name_that_is_as_long_as_an_engine_will_ever_take" VALUES (1,
    'x', 2, '00000000-0000-4000-8000-000000000021');
INSERT INTO "Größe" VALUES ('Ä', 1), ('b', 2);

--- there
INSERT INTO "Ship's Log" VALUES ('2026-01-01
    00:00:00', 'Bergen', 'Oslo', 3.5, 5, 'x', '晴れ', NULL), ('2026-01-02
    00:00:00', NULL, 'Oslo', NULL, 5, 'x', '雨', 'a');
INSERT INTO "Crew" VALUES (4, '00000000-0000-4000-8000-000000000001', 'Anne', NULL), (5,
    '00000000-0000-4000-8000-000000000003', 'Cleo', 4);
INSERT INTO "a_table_with_a_name_that_is_as_long_as_an_engine_will_ever_take" VALUES (1,
    'y', 5, '00000000-0000-4000-8000-000000000022');
INSERT INTO "Größe" VALUES ('Ä', 3), ('c', 2);

--- here writes
DELETE FROM "Ship's Log" WHERE "from" IS NULL;
UPDATE "log" SET "new" = 'N', "select" = NULL, applying = 1;
INSERT INTO "Größe" VALUES ('ö', 3);
UPDATE "a_table_with_a_name_that_is_as_long_as_an_engine_will_ever_take" SET
    "ekat_reve_lliw_enigne_na_sa_gnol_sa_si_taht_eman_a_htiw_elbat_a" = 'z' WHERE crew IS
    NOT NULL;

--- there writes
UPDATE "Ship's Log" SET "a.b" = 'y' WHERE "at" = '2026-01-01 00:00:00';
UPDATE "Crew" SET "Boss Of" = "ID";
DELETE FROM "Größe" WHERE "group" = 2;

--- shown
SELECT * FROM "Ship's Log";
SELECT "new", "old", "select", row_key, tbl, lsn, ms, c, t, "local",
    "stamp", applying, op, uuid FROM "log";
SELECT a."UUID", a."Name", b."UUID" FROM "Crew" a LEFT JOIN "Crew" b ON
    b."ID" = a."Boss Of";
SELECT "ekat_reve_lliw_enigne_na_sa_gnol_sa_si_taht_eman_a_htiw_elbat_a", l.uuid, "Name"
    FROM "a_table_with_a_name_that_is_as_long_as_an_engine_will_ever_take" l JOIN "Crew"
    k ON k."ID" = crew;
SELECT * FROM "Größe";
