"""The grown set-up: the same services as processes, in compose and on Kubernetes."""
