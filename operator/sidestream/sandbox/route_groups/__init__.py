"""RouteGroups: who their members are, and whether all of them answer to the key."""
