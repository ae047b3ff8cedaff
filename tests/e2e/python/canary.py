"""A server that answers everyone: by TCP on 7001, by UDP on 7002. What reaches it could reach anything in the cluster.

It prints a line for each who does.
"""
import socketserver
import threading


class Tcp(socketserver.BaseRequestHandler):
    def handle(self):
        print("reached by TCP", flush=True)
        self.request.sendall(b"canary")


class Udp(socketserver.BaseRequestHandler):
    def handle(self):
        print("reached by UDP", flush=True)
        self.request[1].sendto(b"canary", self.client_address)


udp = socketserver.ThreadingUDPServer(("", 7002), Udp)
threading.Thread(target=udp.serve_forever, daemon=True).start()
socketserver.ThreadingTCPServer.allow_reuse_address = True
with socketserver.ThreadingTCPServer(("", 7001), Tcp) as tcp:
    print("canary is up", flush=True)
    tcp.serve_forever()
