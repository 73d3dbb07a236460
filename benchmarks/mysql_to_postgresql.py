"""MariaDB to PostgreSQL, everything: schema, 2 M rows, indexes, constraints, sequences, statistics.

`python -m benchmarks.mysql_to_postgresql [ROWS]`. Three tables of ordinary shape; pgloader moves the same. The target
of both is Debian's PostgreSQL. The servers' passwords are in the URLs: pgloader wants them there.
"""

from __future__ import annotations

from benchmarks import bench

ROWS = 2_000_000

TABLES = (
    """CREATE TABLE customers (
      id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, email varchar(120) NOT NULL, name varchar(80) NOT NULL,
      country char(2) NOT NULL, credit decimal(12,2) NOT NULL DEFAULT 0, created_at datetime(3) NOT NULL, note text,
      UNIQUE KEY customers_email (email), KEY customers_country (country))""",
    """CREATE TABLE orders (
      id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, customer_id bigint NOT NULL, status varchar(20) NOT NULL,
      total decimal(12,2) NOT NULL, placed_at datetime NOT NULL, comment text,
      KEY orders_customer (customer_id), KEY orders_placed (placed_at),
      CONSTRAINT orders_customer FOREIGN KEY (customer_id) REFERENCES customers (id))""",
    """CREATE TABLE order_lines (
      order_id bigint NOT NULL, line_no int NOT NULL, sku varchar(40) NOT NULL, quantity int NOT NULL,
      price decimal(10,2) NOT NULL, shipped_at datetime, PRIMARY KEY (order_id, line_no), KEY order_lines_sku (sku),
      CONSTRAINT order_lines_order FOREIGN KEY (order_id) REFERENCES orders (id))""",
)


def statements(rows: int) -> list[str]:
    """The tables, and a tenth, three tenths and six tenths of the rows in them."""
    customers, orders = rows // 10, rows * 3 // 10
    return [
        *TABLES,
        f"""INSERT INTO customers SELECT seq, concat('user', seq, '@example.org'), concat('Name of ', seq),
        elt(seq % 5 + 1, 'de', 'fr', 'it', 'us', 'jp'), (seq * 7919) % 1000000 / 100,
        '2020-01-01' + INTERVAL seq * 61 SECOND, if(seq % 3, NULL, concat('a note\\nwith two lines, ', seq))
        FROM seq_1_to_{customers}""",
        f"""INSERT INTO orders SELECT seq, seq % {customers} + 1, elt(seq % 4 + 1, 'new', 'paid', 'sent', 'closed'),
        (seq * 104729) % 10000000 / 100, '2021-01-01' + INTERVAL seq * 17 SECOND,
        if(seq % 4, NULL, concat('please ring twice; order ', seq)) FROM seq_1_to_{orders}""",
        f"""INSERT INTO order_lines SELECT (seq - 1) DIV 2 + 1, seq % 2, concat('SKU-', seq * 31 % 50000), seq % 9 + 1,
        seq * 13 % 100000 / 100, if(seq % 5, '2021-02-01' + INTERVAL seq SECOND, NULL) FROM seq_1_to_{orders * 2}""",
    ]


def main(rows: int = ROWS) -> None:
    pgloader = bench.need("pgloader")["pgloader"]
    with bench.mariadb() as source, bench.postgresql("target", system=True) as target:
        origin = source.fresh("t_shop")
        source.admin("USE t_shop", *statements(rows), "ANALYZE TABLE customers, orders, order_lines")
        times = bench.best(
            3,
            ready=lambda: target.clear("ours", "theirs"),
            ours=lambda: bench.runbook("copy", origin, target.url("ours")),
            pgloader=lambda: bench.run([pgloader, origin, target.url("theirs").replace("postgresql", "pgsql", 1)]),
        )
    bench.report(
        bench.Outcome(
            name="mysql_to_postgresql",
            work=f"MariaDB → PostgreSQL, all of it, {rows:,} rows",
            peer="pgloader",
            ours=times["ours"],
            theirs=times["pgloader"],
            limit=0.35,
            command="python -m benchmarks.mysql_to_postgresql",
        )
    )


if __name__ == "__main__":
    bench.start(main)
