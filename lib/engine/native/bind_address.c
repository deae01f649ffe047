/* Preloaded into a process with a TensorFlow server, which would listen on every interface: sockets bound to "any address"
   are bound to the IPv4 address in BIND_ADDRESS instead. lib/launch/address.ts compiles it; Linux only. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

typedef int (*Bind)(int, const struct sockaddr*, socklen_t);

int bind(int socket, const struct sockaddr* address, socklen_t length) {
  Bind system_bind = (Bind)dlsym(RTLD_NEXT, "bind");
  const char* wanted = getenv("BIND_ADDRESS");
  struct in_addr only;
  if (!wanted || inet_pton(AF_INET, wanted, &only) != 1) return system_bind(socket, address, length);
  if (address->sa_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
    struct sockaddr_in changed = *(const struct sockaddr_in*)address;
    if (changed.sin_addr.s_addr == htonl(INADDR_ANY)) changed.sin_addr = only;
    return system_bind(socket, (const struct sockaddr*)&changed, sizeof changed);
  }
  if (address->sa_family == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
    struct sockaddr_in6 changed = *(const struct sockaddr_in6*)address;
    if (!memcmp(&changed.sin6_addr, &in6addr_any, sizeof in6addr_any)) {
      /* ::ffff:a.b.c.d, the IPv4 address as IPv6 writes it */
      unsigned char* bytes = changed.sin6_addr.s6_addr;
      bytes[10] = bytes[11] = 0xff;
      memcpy(bytes + 12, &only, 4);
    }
    return system_bind(socket, (const struct sockaddr*)&changed, sizeof changed);
  }
  return system_bind(socket, address, length);
}
