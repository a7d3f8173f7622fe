# Making what a local cluster stands on: tokens, certificates and configuration files.
# Sourced by cluster/local/up, after lib.sh. Everything secret is written with mode 0600 and never appears in a
# command line, where any user of the machine could read it.

# shellcheck shell=bash
set -euo pipefail

readonly MODULE=/usr/lib/softhsm/libsofthsm2.so
readonly CERTIFICATE_DAYS=30

# One SoftHSM token with its own configuration and folder, like an HSM of its own.
make_token() {
    local name=$1 so_pin pin
    local conf=$DIR/$name/softhsm2.conf
    if [[ -e $conf ]]; then return; fi
    install -d -m 0700 -- "$DIR/$name" "$DIR/$name/tokens" "$DIR/secrets"
    so_pin=$(openssl rand -hex 12)
    pin=$(openssl rand -hex 8)
    (
        umask 077
        printf '%s' "$so_pin" >"$DIR/secrets/$name.so-pin"
        printf '%s' "$pin" >"$DIR/secrets/$name.pin"
        cat >"$conf.new" <<CONFIGURATION
directories.tokendir = $DIR/$name/tokens
objectstore.backend = file
log.level = ERROR
slots.removable = false
CONFIGURATION
    )
    token_tool "$conf.new" "$so_pin" "$pin" --slot-index 0 --init-token --label "$name" --so-pin env:SO_PIN
    token_tool "$conf.new" "$so_pin" "$pin" --token-label "$name" --login --login-type so --so-pin env:SO_PIN \
        --init-pin --pin env:USER_PIN
    mv -- "$conf.new" "$conf"
}

token_tool() {
    local conf=$1 so_pin=$2 pin=$3 output
    shift 3
    if ! output=$(SOFTHSM2_CONF=$conf SO_PIN=$so_pin USER_PIN=$pin pkcs11-tool --module "$MODULE" "$@" 2>&1); then
        printf '%s\n' "$output" >&2
        fail "pkcs11-tool could not make the token of $conf"
    fi
}

make_authority() {
    install -d -m 0700 -- "$DIR/ca"
    openssl_quietly genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$DIR/ca/ca.key"
    cat >"$DIR/ca/ca.cnf" <<'CONFIGURATION'
[req]
distinguished_name = name
x509_extensions = authority
prompt = no
[name]
CN = HSMCluster throw-away CA
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
CONFIGURATION
    openssl_quietly req -x509 -new -sha256 -days "$CERTIFICATE_DAYS" -config "$DIR/ca/ca.cnf" \
        -key "$DIR/ca/ca.key" -out "$DIR/ca/ca.pem"
}

# make_certificate PATH-WITHOUT-SUFFIX COMMON-NAME SUBJECT-ALTERNATIVE-NAMES
make_certificate() {
    local path=$1 name=$2 alternatives=$3
    install -d -m 0700 -- "$(dirname -- "$path")"
    openssl_quietly genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$path.key"
    cat >"$path.cnf" <<CONFIGURATION
[req]
distinguished_name = name
prompt = no
[name]
CN = $name
[leaf]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = $alternatives
CONFIGURATION
    openssl_quietly req -new -sha256 -config "$path.cnf" -key "$path.key" -out "$path.csr"
    openssl_quietly x509 -req -sha256 -days "$CERTIFICATE_DAYS" -in "$path.csr" -extfile "$path.cnf" \
        -extensions leaf -CA "$DIR/ca/ca.pem" -CAkey "$DIR/ca/ca.key" -set_serial "0x$(openssl rand -hex 16)" \
        -out "$path.pem"
    rm -f -- "$path.csr" "$path.cnf"
}

openssl_quietly() {
    local output
    if ! output=$(umask 077; openssl "$@" 2>&1); then
        printf '%s\n' "$output" >&2
        fail "openssl $1 failed"
    fi
}

# The authority and its certificates live 30 days; all are made anew when one has less than a day left.
make_certificates() {
    local number path fresh=yes
    for path in "$DIR/ca/ca.pem" "$DIR/client/admin.pem" "$DIR"/node-*/node.pem; do
        if [[ ! -s $path ]] || ! openssl x509 -checkend 86400 -noout -in "$path" >/dev/null; then fresh=no; fi
    done
    if [[ $fresh == yes ]]; then return; fi
    if [[ -n $(node_pids) ]]; then
        warn "the certificates expire within a day: cluster/local/down and up make new ones"
        return
    fi
    step "Making a throw-away CA and certificates (valid for $CERTIFICATE_DAYS days)"
    make_authority
    for ((number = 1; number <= NODES; number++)); do
        make_certificate "$DIR/node-$number/node" "node $number" \
            "URI:hsmcluster://local/node/$number, IP:127.0.0.1, DNS:localhost"
    done
    make_certificate "$DIR/client/admin" "administrator" "URI:hsmcluster://local/client/admin"
}

# Written once: what somebody changes by hand stays.
write_node_configuration() {
    local number=$1 other name
    local file=$DIR/node-$number/node.yaml
    if [[ -e $file ]]; then return; fi
    {
        cat <<CONFIGURATION
cluster: local
node: $number
stateDirectory: .
listen: { peers: "127.0.0.1:$(peers_port "$number")", api: "127.0.0.1:$(api_port "$number")" }
tls: { authority: ../ca/ca.pem, certificate: node.pem, key: node.key }
nodes:
CONFIGURATION
        for ((other = 1; other <= NODES; other++)); do
            printf '  - { id: %d, address: "127.0.0.1:%d", api: "https://127.0.0.1:%d" }\n' \
                "$other" "$(peers_port "$other")" "$(api_port "$other")"
        done
        say "endpoints:"
        for name in "${ENDPOINTS[@]}"; do
            cat <<CONFIGURATION
  - name: $name
    module: $MODULE
    token: "pkcs11:token=$name"
    pin: { file: ../secrets/$name.pin }
    environment: { SOFTHSM2_CONF: ../$name/softhsm2.conf }
CONFIGURATION
        done
        if ((${#ENDPOINTS[@]} < 2)); then say "replicas: { minimum: 1, sources: 1 }"; fi
    } >"$file.new"
    mv -- "$file.new" "$file"
}

write_client_configuration() {
    local file=$DIR/client/client.yaml number addresses=''
    if [[ -e $file ]]; then return; fi
    for ((number = 1; number <= NODES; number++)); do
        addresses+="${addresses:+, }\"https://127.0.0.1:$(api_port "$number")\""
    done
    cat >"$file.new" <<CONFIGURATION
cluster: local
nodes: [$addresses]
tls: { authority: ../ca/ca.pem, certificate: admin.pem, key: admin.key }
CONFIGURATION
    mv -- "$file.new" "$file"
}
