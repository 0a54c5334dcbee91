-- A shop: composite keys, and column types that only one engine has.

--- schema mysql
CREATE TABLE product (sku VARCHAR(20) NOT NULL PRIMARY KEY, name VARCHAR(80) NOT NULL, kind
    ENUM('food','tool','it''s') NOT NULL DEFAULT 'food', tags SET('new','sale','last'), details
    JSON, flags BIT(8) DEFAULT b'0', stock BIGINT UNSIGNED NOT NULL DEFAULT 0, price
    DECIMAL(20,4) NOT NULL, gross DECIMAL(20,4) GENERATED ALWAYS AS (price * 1.2) STORED, short
    VARCHAR(3) AS (LEFT(name, 3)) VIRTUAL, made YEAR, weight FLOAT, changed TIMESTAMP NOT NULL
    DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, picture MEDIUMBLOB, small TINYINT,
    big MEDIUMINT UNSIGNED, CHECK (price >= 0), UNIQUE KEY (name(20)));
CREATE TABLE customer (id BIGINT UNSIGNED NOT NULL PRIMARY KEY AUTO_INCREMENT, uid BINARY(16)
    NOT NULL UNIQUE, email VARCHAR(80) CHARACTER SET latin1 UNIQUE, born DATE)
    AUTO_INCREMENT=9223372036854775000;
CREATE TABLE "order" (shop SMALLINT UNSIGNED NOT NULL, "number" INT NOT NULL, customer BIGINT
    UNSIGNED NOT NULL, state VARCHAR(10), PRIMARY KEY (shop, "number"), FOREIGN KEY (customer)
    REFERENCES customer (id));
CREATE TABLE order_line (shop SMALLINT UNSIGNED NOT NULL, "number" INT NOT NULL, line INT NOT
    NULL, sku VARCHAR(20) NOT NULL, quantity DECIMAL(8,3), PRIMARY KEY (shop, "number", line),
    FOREIGN KEY (shop, "number") REFERENCES "order" (shop, "number") ON DELETE CASCADE, FOREIGN
    KEY (sku) REFERENCES product (sku) ON UPDATE CASCADE);
CREATE TABLE price_list (sku VARCHAR(20) NOT NULL, valid_from DATE NOT NULL, price
    DECIMAL(20,4), PRIMARY KEY (sku, valid_from), FOREIGN KEY (sku) REFERENCES product (sku));

--- schema postgresql
CREATE TYPE kind AS ENUM ('food', 'tool', 'it''s');
CREATE DOMAIN amount AS NUMERIC(20,4) CHECK (VALUE >= 0);
CREATE TABLE product (sku VARCHAR(20) PRIMARY KEY, name VARCHAR(80) NOT NULL, kind kind NOT NULL
    DEFAULT 'food', tags TEXT[], details JSONB, flags BIT(8) DEFAULT B'00000000', stock
    NUMERIC(20) NOT NULL DEFAULT 0, price amount NOT NULL, gross NUMERIC(20,4) GENERATED ALWAYS
    AS (price * 1.2) STORED, made SMALLINT, weight REAL, changed TIMESTAMPTZ NOT NULL DEFAULT
    now(), picture BYTEA, lasts INTERVAL, seen_at INET, span INT4RANGE);
CREATE UNIQUE INDEX ON product (lower(name));
CREATE TABLE customer (id BIGINT PRIMARY KEY GENERATED ALWAYS AS IDENTITY, uid UUID NOT NULL
    UNIQUE DEFAULT gen_random_uuid(), email TEXT, born DATE, gone BOOLEAN NOT NULL DEFAULT
    FALSE);
CREATE UNIQUE INDEX one_email ON customer (email) WHERE NOT gone;
CREATE TABLE "order" (shop SMALLINT NOT NULL, number INT NOT NULL, customer BIGINT NOT NULL
    REFERENCES customer (id), state VARCHAR(10), PRIMARY KEY (shop, number));
CREATE TABLE order_line (shop SMALLINT NOT NULL, number INT NOT NULL, line INT NOT NULL, sku
    VARCHAR(20) NOT NULL REFERENCES product (sku) ON UPDATE CASCADE, quantity NUMERIC(8,3),
    PRIMARY KEY (shop, number, line), FOREIGN KEY (shop, number) REFERENCES "order" (shop,
    number) ON DELETE CASCADE);
CREATE TABLE price_list (sku VARCHAR(20) NOT NULL REFERENCES product (sku), valid_from DATE NOT
    NULL, price amount, PRIMARY KEY (sku, valid_from));

--- schema sqlite
CREATE TABLE product (sku VARCHAR(20) PRIMARY KEY NOT NULL, name TEXT NOT NULL COLLATE NOCASE
    UNIQUE, kind TEXT NOT NULL DEFAULT 'food' CHECK (kind IN ('food','tool','it''s')), tags,
    details JSON, flags BIT(8) DEFAULT 0, stock UNSIGNED BIG INT NOT NULL DEFAULT 0, price
    DECIMAL(20,4) NOT NULL, gross DECIMAL(20,4) GENERATED ALWAYS AS (price * 1.2) STORED, short
    TEXT AS (substr(name, 1, 3)) VIRTUAL, made YEAR, weight FLOAT, changed TIMESTAMP NOT NULL
    DEFAULT CURRENT_TIMESTAMP, picture BLOB) WITHOUT ROWID;
CREATE TABLE customer (id INTEGER PRIMARY KEY AUTOINCREMENT, uid BLOB NOT NULL UNIQUE, email
    TEXT, born DATE);
CREATE UNIQUE INDEX one_email ON customer (lower(email));
CREATE TABLE "order" (shop SMALLINT NOT NULL, number INT NOT NULL, customer BIGINT NOT NULL
    REFERENCES customer (id), state VARCHAR(10), PRIMARY KEY (shop, number));
CREATE TABLE order_line (shop SMALLINT NOT NULL, number INT NOT NULL, line INT NOT NULL, sku
    VARCHAR(20) NOT NULL REFERENCES product (sku) ON UPDATE CASCADE, quantity NUMERIC(8,3),
    PRIMARY KEY (shop, number, line), FOREIGN KEY (shop, number) REFERENCES "order" (shop,
    number) ON DELETE CASCADE);
CREATE TABLE price_list (sku TEXT NOT NULL REFERENCES product (sku), valid_from TEXT NOT NULL,
    price REAL, PRIMARY KEY (sku, valid_from)) STRICT;

--- here
INSERT INTO product (sku, name, kind, stock, price, made, weight, details) VALUES ('A-1',
    'Apple', 'food', {most}, 1.2345, 2020, 0.1, '{"a": [1, 2]}');
INSERT INTO product (sku, name, kind, price) VALUES ('B-1', 'Hammer', 'tool', 12);
INSERT INTO customer (uid, email, born) VALUES ({u1}, 'ann@x.org', '1980-01-02');
INSERT INTO customer (uid, email) VALUES ({u2}, 'ben@x.org');
INSERT INTO "order" (shop, number, customer, state) SELECT 1, 1, id, 'new' FROM customer WHERE
    email = 'ann@x.org';
INSERT INTO order_line VALUES (1, 1, 1, 'A-1', 2.5);
INSERT INTO price_list VALUES ('A-1', '2026-01-01', 3.5);

--- there
INSERT INTO product (sku, name, kind, stock, price) VALUES ('A-1', 'Apple', 'food', 5, 1.5);
INSERT INTO product (sku, name, kind, price) VALUES ('C-1', 'Saw', 'it''s', 13);
INSERT INTO customer (uid, email) VALUES ({u2}, 'ben@y.org');
INSERT INTO customer (uid, email) VALUES ({u3}, 'cleo@x.org');
INSERT INTO "order" (shop, number, customer, state) SELECT 1, 1, id, 'paid' FROM customer WHERE
    email = 'ben@y.org';
INSERT INTO "order" (shop, number, customer, state) SELECT 2, 1, id, 'new' FROM customer WHERE
    email = 'cleo@x.org';
INSERT INTO order_line VALUES (1, 1, 1, 'A-1', 3.5);
INSERT INTO order_line VALUES (2, 1, 1, 'C-1', 1);

--- here writes
UPDATE product SET price = 2, kind = 'tool' WHERE sku = 'A-1';
DELETE FROM "order" WHERE shop = 2;
INSERT INTO product (sku, name, price) VALUES ('D-1', 'Dill', 0.0001);
INSERT INTO price_list VALUES ('D-1', '2026-02-01', 9.5);

--- there writes
UPDATE order_line SET quantity = 7 WHERE shop = 1;
UPDATE customer SET email = 'ben@z.org' WHERE email = 'ben@y.org';
UPDATE product SET price = 14 WHERE sku = 'C-1';
DELETE FROM price_list WHERE price = 3.5;

--- shown
SELECT sku, name, kind, price, gross, stock, flags, made, weight, picture FROM product;
SELECT uid, email, born FROM customer;
SELECT shop, number, uid, state FROM "order" JOIN customer c ON c.id = customer;
SELECT * FROM order_line;
SELECT * FROM price_list;

--- preset
[tables.customer]
key = ["uid"]
