# The operator, the mapping service and the prober: one image, three subcommands.
#
#   docker build --tag sidestream/operator .
#
# Works with the classic builder too. Behind a proxy with its own authority, put its certificates into ca-bundle.crt
# beside this file: pip uses them, and the image does not hold them.
ARG BASE=python:3.13.9-slim-bookworm

FROM ${BASE} AS dependencies
WORKDIR /build
# Another package index than PyPI: --build-arg PIP_INDEX_URL=…
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ARG PIP_DEFAULT_TIMEOUT
# The wildcard makes ca-bundle.crt optional.
COPY requirements/runtime.lock ca-bundle.cr[t] ./
RUN set -eu; \
    if [ -s ca-bundle.crt ]; then export PIP_CERT=/build/ca-bundle.crt; fi; \
    python3 -m venv --without-pip /opt/sidestream; \
    python3 -m pip --python /opt/sidestream/bin/python --disable-pip-version-check --no-cache-dir \
        install --quiet --no-compile --only-binary :all: --require-hashes --requirement runtime.lock; \
    # Thousands of models of the Kubernetes client are never imported: compiled they would take another 50 MB.
    /opt/sidestream/bin/python -m compileall -q -x 'kubernetes/(aio/)?client/(api|models)/' /opt/sidestream/lib; \
    echo /opt/sidestream/src > "$(echo /opt/sidestream/lib/python3.*/site-packages)/sidestream.pth"; \
    printf '#!/bin/sh\nexec /opt/sidestream/bin/python -m sidestream "$@"\n' > /opt/sidestream/bin/sidestream; \
    chmod 755 /opt/sidestream/bin/sidestream

FROM ${BASE}
# USER and HOME, since no entry of /etc/passwd tells them: any numeric user will do.
ENV PATH=/opt/sidestream/bin:$PATH PYTHONUNBUFFERED=1 USER=sidestream HOME=/tmp
COPY --from=dependencies /opt/sidestream /opt/sidestream
COPY sdk/python/sidestream_sdk /opt/sidestream/src/sidestream_sdk
COPY operator/sidestream /opt/sidestream/src/sidestream
# Its file system is read-only when it runs: what Python would cache then is made now.
RUN /opt/sidestream/bin/python -m compileall -q /opt/sidestream/src
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["sidestream"]
