/**
 * The addresses that a launched training listens on. TensorFlow's server listens on every interface and trusts everybody, so
 * each rank is started with a `bind` that keeps it to one address (engine/native/bind_address.c), and then asks the kernel
 * whether it listens anywhere else.
 */
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import dns from "node:dns/promises";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { promisify } from "node:util";
import { packageRoot } from "../host/package.js";

/** The IPv4 address of a host. @throws {Error} when there is none, or it is public and the network is not trusted */
export async function addressOf(
  host: string,
  { trustedNetwork, severalMachines = false }: { trustedNetwork: boolean; severalMachines?: boolean },
): Promise<string> {
  let address: string;
  try {
    ({ address } = await dns.lookup(host, { family: 4 }));
    // Debian's /etc/hosts gives a machine's own name the address 127.0.1.1, which no other machine can reach.
    if (severalMachines && address.startsWith("127.") && !net.isIP(host))
      address = (await dns.resolve4(host))[0] ?? address;
  } catch {
    throw new Error(
      `Cannot launch: ${host} has no IPv4 address; give --master_addr the address of node 0, such as 10.0.0.1.`,
    );
  }
  if (trustedNetwork || !isPublic(address)) return address;
  throw new Error(
    `Cannot launch: ${address} is a public address, and TensorFlow's servers let everybody in who reaches them; use an address of a private network, or --trusted_network if a firewall lets in only these machines.`,
  );
}

const privateNetworks = new net.BlockList();
for (const [address, prefix] of [
  ["127.0.0.0", 8],
  ["10.0.0.0", 8],
  ["172.16.0.0", 12],
  ["192.168.0.0", 16],
  ["169.254.0.0", 16],
  ["100.64.0.0", 10],
] as const) {
  privateNetworks.addSubnet(address, prefix);
}
export const isPublic = (address: string): boolean => !privateNetworks.check(address);

/**
 * The library that keeps servers to one address, compiled at the first call.
 * @throws {Error} when this system has no such way, or no compiler
 */
export async function bindLibrary(): Promise<string> {
  if (process.platform !== "linux") {
    throw new Error(
      `Cannot keep TensorFlow's servers to one address on ${process.platform}: they would listen on every interface, and let everybody in who reaches them; use --trusted_network if a firewall lets in only these machines.`,
    );
  }
  const source = path.join(packageRoot(), "lib", "engine", "native", "bind_address.c");
  const library = path.join(packageRoot(), ".cache", `bind_address-${process.arch}.so`);
  if (fs.existsSync(library) && fs.statSync(library).mtimeMs >= fs.statSync(source).mtimeMs) return library;
  // The dynamic linker takes both for the end of a path in LD_PRELOAD.
  if (/[\s:]/.test(library)) {
    throw new Error(
      `Cannot launch: ${library} cannot be preloaded, because its path has a space or a colon; move Folio to another folder, or use --trusted_network.`,
    );
  }
  const partial = `${library}.${randomUUID()}`;
  try {
    fs.mkdirSync(path.dirname(library), { recursive: true });
    await promisify(execFile)("cc", ["-O1", "-shared", "-fPIC", "-o", partial, source, "-ldl"]);
    fs.renameSync(partial, library);
  } catch (error) {
    fs.rmSync(partial, { force: true });
    const { stderr, message } = error as Error & { stderr?: string };
    const why = (stderr || message).trim().split("\n")[0];
    throw new Error(
      `Cannot launch: ${path.basename(source)} cannot be compiled (${why}); install a C compiler (cc), or use --trusted_network.`,
    );
  }
  return library;
}

/** A port of this address that is free now. */
export async function freePort(address: string): Promise<number> {
  const server = net.createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, address, resolve);
  });
  const { port } = server.address() as net.AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** The addresses on which this process listens, by the kernel's own table; Linux only. */
export function listeningAddresses(): string[] {
  const sockets = new Set(
    fs.readdirSync("/proc/self/fd").flatMap((name) => {
      try {
        return /^socket:\[(\d+)\]$/.exec(fs.readlinkSync(`/proc/self/fd/${name}`))?.[1] ?? [];
      } catch {
        return []; // closed meanwhile
      }
    }),
  );
  return ["tcp", "tcp6"].flatMap((table) => {
    const file = `/proc/self/net/${table}`;
    if (!fs.existsSync(file)) return [];
    const rows = fs.readFileSync(file, "utf8").split("\n").slice(1);
    return rows.flatMap((row) => {
      const column = row.trim().split(/\s+/);
      const listens = column[3] === "0A" && sockets.has(column[9]!);
      return listens ? [addressInTable(column[1]!.split(":")[0]!)] : [];
    });
  });
}

/** An address of the kernel's table, in hexadecimal words of the processor's byte order. */
function addressInTable(hex: string): string {
  const bytes = Buffer.from(hex, "hex");
  for (let at = 0; at < bytes.length; at += 4) bytes.subarray(at, at + 4).reverse();
  if (bytes.length === 4) return bytes.join(".");
  const mapped = bytes.subarray(0, 12).toString("hex") === "00000000000000000000ffff";
  return mapped ? bytes.subarray(12).join(".") : `[${bytes.toString("hex").match(/.{4}/g)!.join(":")}]`;
}
