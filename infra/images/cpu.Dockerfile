# syntax=docker/dockerfile:1
# Dayspring without a GPU: cpu workers, Prefect's and MLflow's servers, serving.
# TORCH_INDEX is the address of PyTorch's own packages for processors, as PyTorch's installation page gives it.
# Without it PyPI's build is installed, which brings several GB of CUDA and works as well.
#
#     docker build -f infra/images/cpu.Dockerfile -t dayspring-cpu:0.1.0 .

FROM python:3.11.14-slim-bookworm AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN python -m venv /opt/dayspring
ENV PATH=/opt/dayspring/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY flows flows
COPY tasks tasks
ARG TORCH_INDEX=""
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -c requirements.lock torch==2.13.0 ".[grown]"

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
    PREFECT_WORKER_WEBSERVER_PORT=8080
WORKDIR /app
COPY pipelines.yaml ./
USER 10001:10001
# A worker by default; the servers are started from the same image by their own commands.
CMD ["prefect", "worker", "start", "--type", "process", "--pool", "cpu", "--limit", "4", "--with-healthcheck"]
