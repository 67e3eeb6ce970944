# The container image of a pod: the program and what it is linked to, nothing else.
#
#   docker build -t roomcast --build-arg BUILD_COMMIT="$(git rev-parse HEAD)" .
#   docker run --read-only --cap-drop ALL -p 8443:8443/tcp -p 8443:8443/udp roomcast serve --help
#
# What the last stage holds is made by image/rootfs, which tests/js/chart runs without a container engine.

FROM docker.io/library/rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The builder gets no `.git`; without this `roomcast --version` says that its commit is unknown.
ARG BUILD_COMMIT=""
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin roomcast && \
    image/rootfs target/release/roomcast /rootfs

FROM scratch
LABEL org.opencontainers.image.title="roomcast" \
      org.opencontainers.image.description="An edge-deployable, low-latency broadcast proxy" \
      org.opencontainers.image.source="https://github.com/roomcast/roomcast" \
      org.opencontainers.image.licenses="Apache-2.0 OR MIT"
COPY --from=build /rootfs /
# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
# Clients with TLS (TCP, and UDP for WebTransport), without TLS, and the internal port.
EXPOSE 8443/tcp 8443/udp 8080/tcp 9000/tcp
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/roomcast"]
CMD ["serve"]
