#!/usr/bin/env bash
# A first message, with nothing but the mosquitto clients and a running server (`npm start`).
#
#   examples/first-message.sh
#   SABETHES_EXAMPLE_HOST=chat.local SABETHES_EXAMPLE_PORT=1883 examples/first-message.sh
#
# alice writes to bob, who was never seen before and is not connected; then bob comes and reads it; then there is
# nothing left to read. Exits with 0 only when all of that happened.
set -euo pipefail

host="${SABETHES_EXAMPLE_HOST:-127.0.0.1}"
port="${SABETHES_EXAMPLE_PORT:-1883}"
# A name nobody had before, so that the example works again and again on the same server.
bob="bob-$$-$(date +%s)"
text="hello from alice ($$)"

for tool in mosquitto_pub mosquitto_sub; do
  command -v "$tool" >/dev/null || { echo "first-message: '$tool' is missing (apt-get install mosquitto-clients)" >&2; exit 69; }
done
fail () { echo "first-message: $1" >&2; exit 1; }

echo "1. alice sends to $bob, who is not there. When the command returns, the message is on disk:"
echo "   mosquitto_pub -h $host -p $port -u alice -t im/to/u/$bob -q 1 -m '$text'"
mosquitto_pub -h "$host" -p "$port" -u alice -t "im/to/u/$bob" -q 1 -m "$text" || fail "no server at $host:$port took the message"

echo "2. $bob comes and reads what waited for him:"
echo "   mosquitto_sub -h $host -p $port -u $bob -t im/u/$bob/inbox -q 1 -C 1"
got="$(mosquitto_sub -h "$host" -p "$port" -u "$bob" -t "im/u/$bob/inbox" -q 1 -C 1 -W 10)" || fail "$bob received nothing within 10 s"
echo "   $got"
case "$got" in
  *"$text"*) ;;
  *) fail 'that is not what alice wrote' ;;
esac

echo "3. he asks again, and there is nothing more (this takes a second):"
again="$(mosquitto_sub -h "$host" -p "$port" -u "$bob" -t "im/u/$bob/inbox" -q 1 -C 1 -W 1)" || true
[ -z "$again" ] || fail "the message came twice: $again"
echo '   nothing: it was delivered once'
