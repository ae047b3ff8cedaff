"""From the first line to the last: walls, greeting, script, acknowledgement."""
import contextlib, json, os, sys

HELLO_SECONDS = 20  # Nobody attached for so long: whoever started this process is gone.


def main():
    if os.getpid() != 1:  # Signals to a terminal's processes stay away; orphans come here.
        with contextlib.suppress(PermissionError):
            os.setsid()
        prctl(PR_SET_CHILD_SUBREAPER, 1)
    canary, supervisor = Canary(SETTINGS["canary"]), Supervisor()
    held, missing, reason = [], {}, None
    try:
        os.mkdir(HOME)
        os.mkdir(OUTPUT)
        open(INPUT_FILE, "wb").close()
        harden(SETTINGS)
        held, missing = walls()
        if missing and SETTINGS["walls"] == "strict":
            raise Refused("; ".join("%s: %s" % wall for wall in missing.items()))
        supervisor.start()
    except Exception as error:
        reason = str(error) if isinstance(error, Refused) else "%s: %s" % (type(error).__name__, error)
    try:
        kind, payload = supervisor.next_frame(HELLO_SECONDS)
        if kind != HELLO:
            raise Gone
        if reason is None:
            supervisor.wire.send_now(
                READY,
                protocol=PROTOCOL,
                python=sys.version.split()[0],
                walls=held,
                missing=list(missing),
                canary=canary.result(json.loads(payload)["canary_ms"] / 1000),
            )
            reason = supervisor.serve()
        if reason is not None:
            supervisor.wire.send_now(REFUSED, reason=reason)
        supervisor.await_ack()
    except Gone:
        pass
    supervisor.end_everyone()
    os._exit(0)


main()
