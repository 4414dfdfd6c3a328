#!/usr/bin/env bash
# Mosquitto's command line clients. Arguments: host, port, version of MQTT, cases. docs/clients.md shows the marked part.
set -euo pipefail
host=$1 port=$2 five=false version=mqttv311
[ "$3" = 3 ] || { five=true version=mqttv5; }
shift 3
server=(-h "$host" -p "$port" -V "$version")
work=$(mktemp -d)
mkfifo "$work/lines"
exec 3<>"$work/lines"
declare -A pids=()
seen=()
trap 'kill -KILL "${pids[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT

# What the clients in the background say comes through the pipe, as lines of JSON.
say () { printf '{"case":"%s","event":"%s","client":"%s"%s}\n' "$now" "$1" "$2" "${3-}"; }
show () { take "$(say "$@")"; }
take () { seen+=("$1"); printf '%s\n' "$1"; }
await () {
  local wanted=$1 part line found
  shift
  while :; do
    found=0
    for line in "${seen[@]}"; do
      for part in "$@"; do [[ $line == *"$part"* ]] || continue 2; done
      found=$((found + 1))
    done
    [ "$found" -lt "$wanted" ] || return 0
    IFS= read -r -t 10 -u 3 line || { echo "$now: not $wanted of $*" >&2; exit 1; }
    take "$line"
  done
}
hex () { printf '%s' "$1" | od -An -v -tx1 | tr -d ' \n'; }

# Reads what a client prints, with -d and the format of `listen`.
translate () {
  local name=$1 line retain topic payload
  while IFS= read -r line; do
    case $line in
      'message '*)
        read -r retain topic payload <<<"${line#message }"
        say message "$name" ",\"retain\":$([ "$retain" = 1 ] && echo true || echo false),\"topic\":\"$topic\",\"payloadHex\":\"$payload\"" ;;
      'Client '*'received CONNACK (0)') say connected "$name" ;;
      'Subscribed (mid: '*) say subscribed "$name" ",\"reasons\":[${line##*: }]" ;;
      'Client '*'received PUBACK'*',RC:'* | 'Client '*'received PUBACK'*', RC:'*)
        line=${line##*RC:} line=${line%)}
        if [ "$line" -lt 128 ]; then say acked "$name" ",\"reason\":$line"; else say refused "$name" ",\"reason\":$line"; fi ;;
      'Received DISCONNECT ('*) line=${line##*(} && say lost "$name" ",\"reason\":${line%)}" ;;
    esac
  done
}

# listen NAME arguments…: a mosquitto_sub in the background.
listen () {
  local name=$1
  shift
  # Into a pipe it does not flush what it says of itself: stdbuf makes it so.
  stdbuf -oL mosquitto_sub "${server[@]}" -d -q 1 -F 'message %r %t %x' "$@" > >(translate "$name" >"$work/lines") 2>&1 &
  pids[$name]=$!
}
stop () {
  local name
  for name in "$@"; do
    kill -TERM "${pids[$name]}"
    wait "${pids[$name]}" || true
    unset "pids[$name]"
  done
}
# publish NAME arguments…: one message, and what became of it.
publish () {
  local name=$1 code=0 line
  shift
  mosquitto_pub "${server[@]}" -d -q 1 "$@" >"$work/said" 2>&1 || code=$?
  while IFS= read -r line; do take "$line"; done < <(translate "$name" <"$work/said")
  show exit "$name" ",\"code\":$code"
}
kept () { if $five; then echo -c -x 3600; else echo -c; fi; }

message () {
  {
    # <snippet>
    # alice writes. When the command returns, the message is stored, or refused.
    mosquitto_pub -h "$host" -p "$port" -V "$version" -u alice -P secret -q 1 -t im/to/u/bob -m '{"cid":"c-1","body":"hello"}'
    # bob reads what waited for him, and without -C 1 what comes as well. With -i and -c this device goes on where it stopped.
    mosquitto_sub -h "$host" -p "$port" -V "$version" -u bob -P secret -i bob-phone -c -q 1 -t im/u/bob/inbox -C 1
    # </snippet>
  } >"$work/said"
  show acked alice
  show message bob ",\"topic\":\"im/u/bob/inbox\",\"payloadHex\":\"$(hex "$(cat "$work/said")")\""
}
offline () {
  # shellcheck disable=SC2046 # words of their own
  mosquitto_sub "${server[@]}" -q 1 -u bob-offline -i phone $(kept) -t im/u/bob-offline/inbox -E
  for text in one two three; do publish alice -u alice-offline -t im/to/u/bob-offline -m "$text"; done
  # shellcheck disable=SC2046
  listen bob -u bob-offline -i phone $(kept) -t im/u/bob-offline/inbox
  await 3 '"message"'
  stop bob
}
group () {
  listen bob -u bob-group -t 'im/g/+'
  await 1 subscribed
  take "$(say message alice ",\"topic\":\"im/u/alice-group/rpc/1\",\"payloadHex\":\"$(mosquitto_rr "${server[@]}" -u alice-group -q 1 -W 10 \
    -t im/rpc/groups.create -e im/u/alice-group/rpc/1 -m '{"rid":"1","gid":"team","members":["bob-group"]}' -F %x)\"")"
  publish alice -u alice-group -t im/to/g/team -m 'hello team'
  await 1 '"client":"bob"' "$(hex 'hello team')"
  stop bob
}
refused () {
  take "$(say message bob ",\"topic\":\"im/u/bob-refused/rpc/1\",\"payloadHex\":\"$(mosquitto_rr "${server[@]}" -u bob-refused -q 1 -W 10 \
    -t im/rpc/blocks.add -e im/u/bob-refused/rpc/1 -m '{"rid":"1","user":"alice-refused"}' -F %x)\"")"
  # mosquitto_pub does not show the notice: another session of the user does.
  listen notices -u alice-refused -t im/u/alice-refused/notice
  await 1 '"notices"' subscribed
  publish alice -u alice-refused -t im/to/u/bob-refused -m 'hello?'
  await 1 im/u/alice-refused/notice
  listen alice -u alice-refused -t im/u/bob-refused/inbox
  await 1 '"alice"' subscribed
  wait "${pids[alice]}" || true
  unset 'pids[alice]'
  stop notices
}
retained () {
  publish alice -u alice -t home/lamp -m on -r
  listen bob -u bob -t 'home/#'
  await 1 '"bob"' '"message"'
  publish alice -u alice -t home/lamp -n -r
  listen carol -u carol -t 'home/#'
  await 1 '"carol"' subscribed
  publish alice -u alice -t home/bell -m ring
  await 1 '"carol"' "$(hex ring)"
  stop bob carol
}
shared () {
  listen one -u worker -t '$share/crew/jobs/#'
  listen two -u worker -t '$share/crew/jobs/#'
  await 2 subscribed
  if $five; then
    for n in 0 1 2 3 4 5 6 7 8 9; do publish alice -u alice -t jobs/new -m "job $n"; done
    await 10 '"message"'
    stop one two
  else
    # All that it asked for was refused: it ends by itself.
    wait "${pids[one]}" "${pids[two]}" || true
    pids=()
  fi
}
large () {
  listen notices -u alice-large -t im/u/alice-large/notice
  await 1 '"notices"' subscribed
  head -c 1048576 /dev/zero | tr '\0' x >"$work/large"
  publish alice -u alice-large -i laptop -t im/to/u/bob-large -f "$work/large"
  $five || await 1 im/u/alice-large/notice
  publish again -u alice-large -i laptop -t im/to/u/bob-large -m small
  stop notices
}
takeover () {
  listen one -u alice-takeover -i phone -t im/u/alice-takeover/inbox
  await 1 '"one"' subscribed
  publish two -u alice-takeover -i phone -t im/to/u/bob-takeover -m 'from two'
  if $five; then
    await 1 '"lost"' '"one"'
    wait "${pids[one]}" || true
    unset 'pids[one]'
  else
    # It says nothing, and comes back after a second.
    await 2 '"subscribed"' '"one"'
    show lost one
    stop one
  fi
}
will () {
  listen alice -u alice-will -t im/u/alice-will/inbox --will-topic im/to/u/bob-will --will-payload 'alice is gone' --will-qos 1
  await 1 subscribed
  kill -KILL "${pids[alice]}"
  wait "${pids[alice]}" 2>/dev/null || true
  unset 'pids[alice]'
}

for now in "$@"; do
  seen=()
  "$now"
  show end ''
done
