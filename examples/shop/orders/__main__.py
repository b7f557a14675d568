import uvicorn

from orders.app import app

uvicorn.run(app, host="0.0.0.0", port=8080, access_log=False)  # noqa: S104 - a pod's port
