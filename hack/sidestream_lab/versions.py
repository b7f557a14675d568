"""Every version that the lab pins. Go module versions stand in images/go/go.mod too; a test holds the two together."""

KUBERNETES = "v1.36.3"
ETCD = "v3.6.8"
COREDNS = "v1.14.7"
KIND = "v0.33.0"
HELM = "v3.21.4"
KUBECONFORM = "v0.8.0"
ISTIO_MODULE = "v0.0.0-20260827124520-eed52ebb66ad"
"""The Go proxy serves no tagged release of istio.io/istio; this is a commit of its main line."""

GATEWAY_API = "v1.5.1"
ENVOY = "1.40.0"
KAFKA = "4.1.1"

MINIMUM_GO = (1, 26)
DEBIAN = "bookworm"
"""The Debian release inside the images that the lab builds."""
