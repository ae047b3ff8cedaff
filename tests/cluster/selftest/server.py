"""The canary of the self-test: answers "canary" on TCP 8080 and 8081 and on UDP 9090, until it is ended."""

import socket
import socketserver


class Tcp(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"canary")


class TcpServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 256


def serve_udp():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("", 9090))
    while True:
        _, sender = sock.recvfrom(1500)
        sock.sendto(b"canary", sender)


if __name__ == "__main__":
    import threading

    for port in (8080, 8081):
        threading.Thread(target=TcpServer(("", port), Tcp).serve_forever, daemon=True).start()
    serve_udp()
