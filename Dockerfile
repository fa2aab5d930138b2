# forge in an image; the user is whoever owns the directory, for what is made there:
#   docker build -t forge .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" forge lint
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock build.rs ./
COPY src ./src
RUN cargo build --locked --profile dist --bin forge

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates git \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --create-home forge \
    && install -d -o forge -g forge /work
COPY --from=build /src/target/dist/forge /usr/local/bin/forge
USER 10001:10001
WORKDIR /work
HEALTHCHECK NONE
ENTRYPOINT ["forge"]
