"""Every version that the lab pins. Go module versions stand in images/go/go.mod too; a test holds the two together."""

KUBERNETES = "v1.36.3"
ETCD = "v3.6.8"
COREDNS = "v1.14.7"
KIND = "v0.33.0"
HELM = "v3.21.4"
ISTIO_MODULE = "v0.0.0-20260827124520-eed52ebb66ad"
"""The Go proxy serves no tagged release of istio.io/istio; this is a commit of its main line."""

ISTIO = "1.30.4"
"""The release of Istio whose chart and images are used where images can be pulled."""

GATEWAY_API = "v1.6.0"
ENVOY = "1.40.0"
KAFKA = "4.1.1"
TRAEFIK = "v3.6.0"
PYTHON = "3.13.9"
"""The Python that the project's images start from where images can be pulled."""

MINIMUM_GO = (1, 26)
DEBIAN = "bookworm"
"""The Debian release inside the images that the lab builds."""

KIND_NODE_IMAGE = "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5"
"""The node image that this release of kind was made with; used where images can be pulled."""
