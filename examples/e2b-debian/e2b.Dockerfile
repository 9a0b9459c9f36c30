# The template: the environment of `Dockerfile`, which e2b.toml makes known as `base`, and the code in it.
FROM base

WORKDIR /code
COPY --chown=sandboxuser:sandboxuser . .
