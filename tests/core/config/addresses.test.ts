import { fc } from "../../support/property.ts";
import { isIp, networkContains, parseIp, parseNetwork } from "../../../core/config/ip.ts";
import { expandTemplate } from "../../../core/config/sockaddr.ts";
import { assert, describe, it } from "../../support/harness.ts";
import { configHost } from "./host.ts";

describe("an address template", () => {
  const host = configHost({}, ["10.0.0.5", "8.8.8.8", "192.168.1.7", "fe80::1", "2600::9"]);
  const good: readonly (readonly [string, string])[] = [
    ["127.0.0.1", "127.0.0.1"],
    ["{{ GetPrivateIP }}", "10.0.0.5"],
    ["{{GetPrivateIPs}}", "10.0.0.5 192.168.1.7"],
    ["{{ GetPublicIP }}", "8.8.8.8"],
    ['{{ GetInterfaceIP "eth2" }}', "192.168.1.7"],
    ["{{ GetInterfaceIP `eth0` }} ::1", "10.0.0.5 ::1"],
    ['{{ GetInterfaceIP "nope" }}', ""],
    ['{{ GetAllInterfaces | include "network" "192.168.0.0/16" | attr "address" }}', "192.168.1.7"],
    ['{{ GetPrivateInterfaces | exclude "name" "eth0" | join "address" "," }}', "192.168.1.7"],
    ['{{ GetAllInterfaces | include "type" "ipv6" | include "flags" "forwardable" | join "address" " " }}', "2600::9"],
    ['{{ GetPrivateInterfaces | sort "-address" | limit 1 | attr "name" }}', "eth2"],
    ['{{- GetAllInterfaces | include "rfc" "6890" | offset 1 | attr "address" -}}', "192.168.1.7"],
  ];
  for (const [template, text] of good) {
    it(`${template} is ${JSON.stringify(text)}`, () => assert.deepEqual(expandTemplate(template, host), { kind: "text", text }));
  }

  for (const template of [
    "{{ zz }}",
    "{{ GetPrivateIP",
    "{{ GetAllInterfaces }}",
    '{{ GetDefaultInterfaces | attr "address" }}',
    '{{ GetAllInterfaces | include "flags" "multicast" | attr "address" }}',
    '{{ GetPrivateIP | attr "address" }}',
    "{{ }}",
    "{{ ( }}",
    `{{ GetPrivateIP }}${" ".repeat(1024)}`,
  ]) {
    it(`${template.slice(0, 80)} is refused`, () => assert.equal(expandTemplate(template, host).kind, "invalid"));
  }

  it("of any text is filled in or refused, never crashed on", () => {
    fc.assert(fc.property(fc.string(), (text) => void expandTemplate(`{{${text}}}`, host)));
  });
});

describe("IP addresses", () => {
  it("are those that Go reads", () => {
    for (const text of [
      "0.0.0.0",
      "255.1.2.3",
      "::",
      "::1",
      "1::",
      "fe80::1:2",
      "1:2:3:4:5:6:7:8",
      "::ffff:1.2.3.4",
      "1:2:3:4:5:6:1.2.3.4",
    ])
      assert.ok(isIp(text), text);
    for (const text of [
      "",
      "1.2.3",
      "1.2.3.256",
      "1.2.3.4.5",
      "a.b.c.d",
      ":",
      ":::",
      "1::2::3",
      "1:2:3:4:5:6:7",
      "1:2:3:4:5:6:7:8:9",
      "::1%eth0",
      "12345::",
      "1.2.3.4::",
      "1:2:3:4:5:6:7::8:9",
    ]) {
      assert.ok(!isIp(text), text);
    }
  });

  it("of any family written by the generator are read", () => {
    fc.assert(fc.property(fc.ipV4(), (text) => assert.equal(parseIp(text)?.family, 4)));
    fc.assert(fc.property(fc.ipV6(), (text) => assert.equal(parseIp(text)?.family, 6)));
  });

  it("belong to networks by their leading bits", () => {
    const inside = (network: string, ip: string): boolean => networkContains(parseNetwork(network)!, parseIp(ip)!);
    assert.ok(inside("10.0.0.0/8", "10.255.0.1") && !inside("10.0.0.0/8", "11.0.0.1"));
    assert.ok(inside("172.16.0.0/12", "172.31.255.255") && !inside("172.16.0.0/12", "172.32.0.0"));
    assert.ok(inside("0.0.0.0/0", "1.2.3.4") && inside("1.2.3.4/32", "1.2.3.4") && !inside("1.2.3.4/32", "1.2.3.5"));
    assert.ok(inside("fe80::/10", "febf::1") && !inside("fe80::/10", "fec0::1") && !inside("::/0", "1.2.3.4"));
    for (const text of ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/08", "x/8", "::/129"])
      assert.equal(parseNetwork(text), undefined);
  });
});
