-- revision: 0003_latest_orders
-- revises: 0002_preferences
-- The latest orders are found by an index; writers do not wait for it
-- transaction: no

-- up
CREATE INDEX CONCURRENTLY orders_latest ON orders (placed_at);
-- up (mysql)
CREATE INDEX orders_latest ON orders (placed_at) ALGORITHM=INPLACE LOCK=NONE;
-- up (sqlite)
CREATE INDEX orders_latest ON orders (placed_at);

-- down
DROP INDEX CONCURRENTLY orders_latest;
-- down (mysql)
DROP INDEX orders_latest ON orders;
-- down (sqlite)
DROP INDEX orders_latest;
