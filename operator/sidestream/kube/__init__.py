"""The Kubernetes API as the rest of the operator sees it: raw JSON objects, our errors, server-side apply."""
