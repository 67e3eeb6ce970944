# The commands that people run each day. `just` alone lists them; continuous integration runs `just test`'s command.

_default:
    @{{ just_executable() }} --list --unsorted

# A pod with the embedded broker and a development certificate
run *ARGS:
    cargo run --release -- {{ ARGS }}

# Lints and unit tests of the crates that changed: after each change, at most a minute
quick *ARGS:
    tests/quick {{ ARGS }}

# Everything but chaos, fuzz, chart, k6 and clients: before a change is handed in, at most four minutes
check:
    tests/check

# Every test, or the named stages: fmt lint clippy msrv cargo redis chaos clients chart k6 deny autobahn fuzz
test *STAGES:
    tests/run {{ STAGES }}

# Rust tests only, by name
unit *FILTER:
    cargo test --workspace {{ FILTER }}

# Real clients against a pod: npm ws, Chromium, Python websockets, curl
clients:
    tests/run clients

# The Helm chart and the image; with KUBE_APISERVER=build in a real Kubernetes API too
chart:
    tests/run chart

# The k6 scripts, and a rolling restart under load
k6:
    tests/run k6

# Formatting and lints, warnings denied
lint:
    tests/run fmt lint clippy

# Formats the code, Rust and JavaScript
fmt:
    cargo fmt --all
    tests/js/node_modules/.bin/biome format --write tests/js clients examples bench/k6 src/pod/page src/pod/status helm

# The load generator; `just bench --help` lists what it measures
bench *ARGS:
    cargo run --release -p roomcast-bench -- {{ ARGS }}

# What this work tree costs over an earlier commit (COMPARE_COMMIT), the same load on both in turns
compare *SCENARIOS:
    bench/compare {{ SCENARIOS }}

# One fuzz target for some seconds, or all of them
fuzz TARGET="" SECONDS="60":
    {{ if TARGET == "" { "FUZZ_SECONDS=" + SECONDS + " tests/run fuzz" } else { "mkdir -p fuzz/corpus/" + TARGET + " && RUSTC_BOOTSTRAP=1 cargo fuzz run " + TARGET + " fuzz/corpus/" + TARGET + " fuzz/seeds/" + TARGET + " -- -max_total_time=" + SECONDS } }}

# Faults under load, each run for so many seconds: pods and Redis servers that are killed, stopped, cut off and emptied
chaos SECONDS="120":
    CHAOS_SECONDS={{ SECONDS }} cargo test --release --test chaos -- --nocapture --test-threads=1

# Attacks on a pod, each beside its control: what honest clients see (docs/SECURITY.md); attacks by name, else all
edge *NAMES:
    cargo build --release --bin roomcast
    TEST_POD=$(realpath ${CARGO_TARGET_DIR:-target}/release/roomcast) node tests/js/edge/bars.js {{ NAMES }}

# Churn and a rotating choice of these attacks; fails if memory, files or threads grow, or a line is at error
soak MINUTES="30":
    cargo build --release --bin roomcast
    TEST_POD=$(realpath ${CARGO_TARGET_DIR:-target}/release/roomcast) node tests/js/edge/soak.js --minutes {{ MINUTES }}

# 200 people and six liars on two pods of the preset social, cut off again and again while pods are killed: who lost, got twice, was told wrong
people MINUTES="5" USERS="200":
    cargo build --release --bin roomcast
    TEST_POD=$(realpath ${CARGO_TARGET_DIR:-target}/release/roomcast) node tests/js/people/run.js --minutes {{ MINUTES }} --users {{ USERS }}

# 200 clients of the TypeScript package in bad weather, judged by a checker: lost, twice, out of order, and how soon they are back
storm MINUTES="10" CLIENTS="200":
    cargo build --release --bin roomcast
    npm --prefix clients/typescript run --silent build
    TEST_POD=$(realpath ${CARGO_TARGET_DIR:-target}/release/roomcast) node tests/js/storm/storm.js --minutes {{ MINUTES }} --clients {{ CLIENTS }}

# How much of the TypeScript client its tests run through, file by file; fails below 90 of 100 lines
coverage:
    cargo build --bin roomcast
    TEST_POD=$(realpath ${CARGO_TARGET_DIR:-target}/debug/roomcast) npm --prefix clients/typescript run --silent coverage

# All 517 cases of the WebSocket conformance suite against the example echo of crates/websocket
autobahn:
    AUTOBAHN=full tests/run autobahn

# Licences, bans and sources of the dependencies
deny:
    tests/run deny

# Known vulnerabilities of the dependencies; needs the RustSec database from the network
advisories:
    cargo deny check advisories

# The documentation of the library, with private items
doc:
    cargo doc --no-deps --workspace --document-private-items --open
