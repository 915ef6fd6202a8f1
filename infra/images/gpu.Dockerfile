# syntax=docker/dockerfile:1
# Dayspring with CUDA: gpu workers. PyPI's torch brings its CUDA libraries; the host brings the driver, through
# NVIDIA's container toolkit.
#
#     docker build -f infra/images/gpu.Dockerfile -t dayspring-gpu:0.1.0 .

FROM python:3.11.14-slim-bookworm AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN python -m venv /opt/dayspring
ENV PATH=/opt/dayspring/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY flows flows
COPY tasks tasks
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install -c requirements.lock torch==2.13.0 ".[grown]"

FROM python:3.11.14-slim-bookworm
# A fixed number, so that Kubernetes can check that it is not root.
RUN groupadd --gid 10001 dayspring \
    && useradd --uid 10001 --gid 10001 --create-home dayspring \
    && install -d -o dayspring -g dayspring /var/lib/dayspring
COPY --from=build /opt/dayspring /opt/dayspring
# The base model's weights are in the virtual environment: a package carries them.
ENV PATH=/opt/dayspring/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    DAYSPRING_HOME=/var/lib/dayspring \
    DO_NOT_TRACK=1 \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PREFECT_CLOUD_ENABLE_ORCHESTRATION_TELEMETRY=false \
    MLFLOW_DISABLE_TELEMETRY=true \
    GX_ANALYTICS_ENABLED=false \
    HF_HUB_DISABLE_TELEMETRY=1 \
    PREFECT_WORKER_WEBSERVER_PORT=8080 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /app
COPY pipelines.yaml ./
USER 10001:10001
# A worker by default; the servers are started from the same image by their own commands.
CMD ["prefect", "worker", "start", "--type", "process", "--pool", "gpu", "--limit", "1", "--with-healthcheck"]
