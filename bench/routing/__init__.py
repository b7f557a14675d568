"""The benchmark of routing: what tenants cost proxies and the operator, and how soon a Sandbox is routed."""
