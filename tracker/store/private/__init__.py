"""The embedded database: a PostgreSQL + PostGIS cluster of one server's own, on a Unix socket, run as an ordinary user.

`installation` finds the programs, `account` the user who runs them, `directories` makes and locks,
`configuration` writes postgresql.conf, `postmaster` reads what is running, `cluster` puts them together.
Nothing here knows what the database is for.
"""

from tracker.store.private.cluster import PrivateCluster, url_of_running
from tracker.store.private.directories import default_data_dir

__all__ = ["PrivateCluster", "default_data_dir", "url_of_running"]
