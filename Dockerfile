# The operator's image: locked dependencies, the wheel, nobody's user, nothing to write to.
#
#   docker build -t inferplan:0.1.0 .
#
# Its steps were run one by one on a machine without a container engine; as a whole it has not been built yet.

ARG PYTHON=3.13.7-slim-bookworm

# ── build ────────────────────────────────────────────────────────────────────────────────────────────────────
FROM python:${PYTHON} AS build

WORKDIR /src
RUN python -m venv /build && /build/bin/pip install --no-cache-dir uv==0.13.9
ENV PATH=/build/bin:$PATH UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never

# What is installed, and what builds the package, comes from the lock and is checked against its hashes. These layers
# stay until the lock changes.
COPY pyproject.toml uv.lock ./
RUN uv export --frozen --quiet --only-group build --output-file /tmp/build.txt \
    && uv pip install --python /build/bin/python --require-hashes -r /tmp/build.txt
RUN uv export --frozen --quiet --no-dev --extra operator --no-emit-project --output-file /tmp/run.txt \
    && python -m venv --without-pip /opt/inferplan \
    && uv pip install --python /opt/inferplan/bin/python --compile-bytecode --require-hashes -r /tmp/run.txt

# The wheel needs what .dockerignore lets through.
COPY . .
RUN hatchling build --target wheel --directory /tmp/wheel \
    && uv pip install --python /opt/inferplan/bin/python --compile-bytecode --no-deps --no-index /tmp/wheel/*.whl

# ── run ──────────────────────────────────────────────────────────────────────────────────────────────────────
FROM python:${PYTHON}

LABEL org.opencontainers.image.title="inferplan" \
    org.opencontainers.image.description="Plans, prices and runs LLM deployments from InferenceScenario resources" \
    org.opencontainers.image.licenses="Apache-2.0"

COPY --from=build /opt/inferplan /opt/inferplan
ENV PATH=/opt/inferplan/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1

# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 8080 8081
ENTRYPOINT ["inferplan-operator"]
