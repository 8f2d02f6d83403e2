#include "tests/apiserver/pki.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <memory>

#include "base/strings.h"
#include "net/ip.h"

namespace fairlead::tests::apiserver {
namespace {

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Deleter<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Deleter<X509_free>>;
using Bio = std::unique_ptr<BIO, Deleter<BIO_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, Deleter<X509_EXTENSION_free>>;

struct Issued {
  Certificate certificate;
  Key key;
};

struct Wanted {
  std::string common_name;
  std::string organization;
  std::vector<std::pair<int, std::string>> extensions;  // NID, value in openssl.cnf syntax
};

bool add_extension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool set_name(X509* certificate, const Wanted& wanted) {
  X509_NAME* name = X509_get_subject_name(certificate);
  const auto add = [&](const char* field, const std::string& text) {
    return text.empty() ||
           X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(text.c_str()),
                                      -1, -1, 0) == 1;
  };
  return add("O", wanted.organization) && add("CN", wanted.common_name);
}

// Self-signed when `issuer` is null.
Result<Issued> issue(const Wanted& wanted, const Issued* issuer, long serial) {
  Issued made{Certificate(X509_new()), Key(EVP_EC_gen("P-256"))};
  X509* certificate = made.certificate.get();
  if (certificate == nullptr || !made.key) return Error("cannot make a key");
  X509* parent = issuer != nullptr ? issuer->certificate.get() : certificate;
  constexpr long kHour = 3600;
  bool ok = X509_set_version(certificate, X509_VERSION_3) == 1 &&
            ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial) == 1 &&
            X509_gmtime_adj(X509_getm_notBefore(certificate), -kHour) != nullptr &&
            X509_gmtime_adj(X509_getm_notAfter(certificate), 365L * 24 * kHour) != nullptr &&
            set_name(certificate, wanted) && X509_set_issuer_name(certificate, X509_get_subject_name(parent)) == 1 &&
            X509_set_pubkey(certificate, made.key.get()) == 1;
  for (const auto& [nid, value] : wanted.extensions) ok = ok && add_extension(certificate, parent, nid, value);
  EVP_PKEY* signer = issuer != nullptr ? issuer->key.get() : made.key.get();
  ok = ok && X509_sign(certificate, signer, EVP_sha256()) > 0;
  if (!ok) return Error(base::cat("cannot make the certificate for ", wanted.common_name));
  return made;
}

std::string drain(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

std::string certificate_pem(X509* certificate) {
  const Bio bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_X509(bio.get(), certificate);
  return drain(bio.get());
}

KeyPair to_pem(const Issued& issued) {
  const Bio bio(BIO_new(BIO_s_mem()));
  PEM_write_bio_PrivateKey(bio.get(), issued.key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return {.certificate_pem = certificate_pem(issued.certificate.get()), .key_pem = drain(bio.get())};
}

std::string subject_alt_names(const std::vector<std::string>& extra_names) {
  std::string names = "DNS:localhost,IP:127.0.0.1,IP:::1";
  for (const std::string& name : extra_names) {
    names += base::cat(net::Ip::parse(name).has_value() ? ",IP:" : ",DNS:", name);
  }
  return names;
}

}  // namespace

Result<Pki> make_pki(const std::vector<std::string>& extra_names) {
  const Issued ca = TRY(issue({.common_name = "fairlead-test-ca",
                               .organization = "",
                               .extensions = {{NID_basic_constraints, "critical,CA:TRUE"},
                                              {NID_key_usage, "critical,keyCertSign,cRLSign"},
                                              {NID_subject_key_identifier, "hash"}}},
                              nullptr, 1));
  const Issued server = TRY(
      issue({.common_name = "kube-apiserver",
             .organization = "",
             .extensions = {{NID_ext_key_usage, "serverAuth"}, {NID_subject_alt_name, subject_alt_names(extra_names)}}},
            &ca, 2));
  const Issued client = TRY(issue({.common_name = "system:node:test",
                                   .organization = "system:nodes",
                                   .extensions = {{NID_ext_key_usage, "clientAuth"}}},
                                  &ca, 3));
  return Pki{.ca_pem = certificate_pem(ca.certificate.get()), .server = to_pem(server), .client = to_pem(client)};
}

std::string base64(std::string_view bytes) {
  std::string out(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  const int size =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                      reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  out.resize(static_cast<std::size_t>(size));
  return out;
}

}  // namespace fairlead::tests::apiserver
