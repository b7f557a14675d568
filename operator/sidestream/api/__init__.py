"""The custom resources of sidestream.dev/v1alpha1 and the vocabulary that all domains share."""
