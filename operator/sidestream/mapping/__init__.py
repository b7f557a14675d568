"""The mapping service: tells consumers whose records are whose, and people which fork serves a tenant."""
