"""What Prometheus and Grafana show of Dayspring."""
