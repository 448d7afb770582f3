# The image of every node of a Ray cluster: docker build -t registry.example.org/vpdata:0.1.0 .
FROM python:3.11-slim-bookworm

# KubeRay's health checks call wget.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates wget \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY vpdata vpdata
COPY configs configs
COPY pipelines pipelines
# `--build-arg EXTRAS=cloud` leaves out the production models, and torch with them; `cloud,train` encodes and trains.
ARG EXTRAS=cloud,models
RUN pip install --no-cache-dir -c constraints.txt ".[${EXTRAS}]"

RUN useradd --create-home vpdata
USER vpdata
