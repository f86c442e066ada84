"""What pages and terminals share: charts, blocks of a page, numbers for people."""
