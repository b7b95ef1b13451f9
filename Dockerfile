# The image of one service, a folder of services/: docker build --build-arg SERVICE=fetcher -t pmflow-fetcher:0.2.0 .
# For a release, name it by digest: --build-arg PYTHON_IMAGE=python:3.11-slim@sha256:... (docs/operations.md)
ARG PYTHON_IMAGE=python:3.11-slim

FROM ${PYTHON_IMAGE} AS libraries
WORKDIR /build
COPY tools/setup/uv.lock ./
RUN pip install --no-cache-dir --require-hashes -r uv.lock
ARG SERVICE
COPY requirements.lock services/$SERVICE/pyproject.toml ./
RUN uv venv /venv && uv pip install --python /venv --no-cache --require-hashes -c requirements.lock -r pyproject.toml

FROM ${PYTHON_IMAGE}
ARG SERVICE
COPY --from=libraries /venv /venv
WORKDIR /app
COPY shared shared
COPY services/$SERVICE services/$SERVICE
USER 10001
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PMFLOW_HEALTH__FILE=/tmp/health SERVICE=$SERVICE
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s CMD ["python", "-m", "shared.health"]
# The shell reads SERVICE; exec puts Python in its place, so that Python gets the signals that stop the container.
CMD ["sh", "-c", "exec python -m services.$SERVICE"]
