"""Where the databases are and how a run is tuned: inventory, environment, options, secret references."""
