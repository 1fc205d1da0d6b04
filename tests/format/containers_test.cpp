#include "core/checksum.hpp"
#include "format/manifest.hpp"
#include "format/npy.hpp"
#include "format/safetensors.hpp"

#include <gtest/gtest.h>

namespace stillbit::format {
namespace {

Bytes bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

/// A safetensors file of a header and as many data bytes.
std::string file_of(const std::string& header, std::size_t data_bytes) {
  const std::uint64_t size = header.size();
  return std::string(reinterpret_cast<const char*>(&size), 8) + header + std::string(data_bytes, '\0');
}

TEST(Safetensors, HeaderComesBack) {
  SafetensorsHeader header;
  header.metadata = {{"format", "pt"}, {"note", "quote \" and \xC3\xA9"}};
  header.entries = {{"a", "F32", {2, 3}, 0, 24}, {"empty", "F16", {0}, 24, 24}, {"b \"c\"", "U8", {}, 24, 25}};
  const std::string text = unwrap(serialize_safetensors(header, 128));
  EXPECT_EQ(text.size() % 128, 0U);
  const auto back = unwrap(parse_safetensors(bytes_of(text + std::string(25, 'x'))));
  EXPECT_EQ(back.metadata, header.metadata);
  EXPECT_EQ(back.data_offset, text.size());
  ASSERT_EQ(back.entries.size(), 3U);
  EXPECT_EQ(back.entries[2].name, "b \"c\"");
  EXPECT_EQ(back.entries[0].shape, (std::vector<std::uint64_t>{2, 3}));
}

struct Malformed {
  const char* name;
  const char* header;
  std::size_t data_bytes;
};

class MalformedHeaders : public ::testing::TestWithParam<Malformed> {};

TEST_P(MalformedHeaders, AreRefused) {
  const auto result = parse_safetensors(bytes_of(file_of(GetParam().header, GetParam().data_bytes)));
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.fault().code, ErrorCode::kCorrupt);
  EXPECT_FALSE(result.fault().message.empty());
}

INSTANTIATE_TEST_SUITE_P(
    All, MalformedHeaders,
    ::testing::Values(
        Malformed{"Nothing", "", 0}, Malformed{"NoObject", "[]", 0}, Malformed{"Null", "null", 0},
        Malformed{"Unfinished", R"({"a":{"dtype":"U8")", 0}, Malformed{"TrailingText", "{} {}", 0},
        Malformed{"TensorIsNoObject", R"({"a":1})", 0},
        Malformed{"MissingDtype", R"({"a":{"shape":[1],"data_offsets":[0,1]}})", 1},
        Malformed{"MissingShape", R"({"a":{"dtype":"U8","data_offsets":[0,1]}})", 1},
        Malformed{"MissingOffsets", R"({"a":{"dtype":"U8","shape":[1]}})", 1},
        Malformed{"ThreeOffsets", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1,1]}})", 1},
        Malformed{"NegativeOffset", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[-1,1]}})", 1},
        Malformed{"FractionInShape", R"({"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}})", 1},
        Malformed{"HugeNumber", R"({"a":{"dtype":"U8","shape":[99999999999999999999],"data_offsets":[0,1]}})", 1},
        Malformed{"EndBeforeBegin", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}})", 1},
        Malformed{"Hole", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", 2},
        Malformed{
            "Overlap",
            R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
            3},
        Malformed{"DataCutShort", R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", 1},
        Malformed{"DataTooLong", R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", 3},
        Malformed{
            "DuplicateName",
            R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
            0},
        Malformed{"DuplicateDtype", R"({"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}})", 0},
        Malformed{"MetadataIsNoString", R"({"__metadata__":{"a":1}})", 0},
        Malformed{"NestedMetadata", R"({"__metadata__":{"a":{}}})", 0}, Malformed{"NotUtf8", "{\"\xFF\":{}}", 0}),
    [](const auto& test) { return test.param.name; });

TEST(Safetensors, HeaderLengthIsChecked) {
  std::string file = file_of("{}", 0);
  EXPECT_TRUE(parse_safetensors(bytes_of(file)).ok());
  file[0] = 3;
  EXPECT_FALSE(parse_safetensors(bytes_of(file)).ok());
  file[7] = '\xFF';
  EXPECT_FALSE(parse_safetensors(bytes_of(file)).ok());
  EXPECT_FALSE(parse_safetensors(bytes_of("1234567")).ok());
}

TEST(Safetensors, DeepNestingIsNoProblem) {
  EXPECT_FALSE(parse_safetensors(bytes_of(file_of(std::string(1'000'000, '['), 0))).ok());
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_FALSE(parse_safetensors(bytes_of(file_of(objects, 0))).ok());
}

std::string npy_of(const std::string& dict, std::size_t data_bytes) {
  const auto size = static_cast<std::uint16_t>(dict.size());
  return std::string("\x93NUMPY\x01\x00", 8) + std::string(reinterpret_cast<const char*>(&size), 2) + dict +
         std::string(data_bytes, '\0');
}

TEST(Npy, HeaderComesBack) {
  for (const std::vector<std::uint64_t>& shape : {std::vector<std::uint64_t>{}, {3}, {2, 0, 5}}) {
    std::string file = serialize_npy(DType::kF32, shape);
    EXPECT_EQ(file.size() % 64, 0U);
    std::uint64_t count = 4;
    for (const std::uint64_t size : shape) count *= size;
    file.resize(file.size() + count);
    const NpyHeader header = unwrap(parse_npy(bytes_of(file)));
    EXPECT_EQ(header.shape, shape);
    EXPECT_EQ(header.dtype, DType::kF32);
  }
  EXPECT_EQ(npy_dtype(DType::kBF16), DType::kU16);
  EXPECT_EQ(npy_dtype(DType::kF8E5M2), DType::kU8);
  EXPECT_EQ(npy_dtype(DType::kF16), DType::kF16);
}

TEST(Npy, WhatIsNoPlainArrayIsRefused) {
  const auto fault = [](const std::string& dict, std::size_t data_bytes = 0) {
    const auto result = parse_npy(bytes_of(npy_of(dict, data_bytes)));
    return result.ok() ? std::string() : result.fault().message;
  };
  EXPECT_EQ(fault("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", 4), "");
  EXPECT_EQ(fault("{\"shape\":(1,),\"descr\":\"<f4\",\"fortran_order\":True}", 4), "");
  EXPECT_NE(fault("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }").find("objects"), std::string::npos);
  EXPECT_NE(fault("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", 4).find("big-endian"),
            std::string::npos);
  EXPECT_NE(fault("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", 4).find("structured"),
            std::string::npos);
  EXPECT_NE(fault("{'descr': '<U3', 'fortran_order': False, 'shape': (1,), }", 12).find("<U3"), std::string::npos);
  for (const char* dict : {"", "{", "{'descr': '<f4'}", "{'descr': '<f4', 'fortran_order': 1, 'shape': ()}",
                           "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
                           "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
                           "{'descr': '<f4', 'fortran_order': False, 'shape': (1,", "{'other': 1}",
                           "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4294967296)}"}) {
    EXPECT_NE(fault(dict, 4), "") << dict;
  }
  EXPECT_NE(fault("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 4), "");
  const std::string whole = npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", 4);
  for (std::size_t size = 0; size < whole.size(); ++size) EXPECT_FALSE(parse_npy(bytes_of(whole.substr(0, size))).ok());
}

SafetensorsHeader header_with_payloads(const std::vector<std::string>& names) {
  SafetensorsHeader header;
  for (const std::string& name : names) header.entries.push_back({name, "U8", {0}, 0, 0});
  return header;
}

TEST(Manifest, ComesBack) {
  SafetensorsHeader header = header_with_payloads({"a.stillbit"});
  const Manifest manifest{{{"format", "pt"}, {"by", "me"}},
                          {{"a", "a.stillbit", "F32", {2, 3}, "ibp", "packed", {{"ibp", 24}, {"raw", 152}}},
                           {"b", "a.stillbit", "F32", {2, 3}, "ibp", "packed", {}}}};
  unwrap(attach(manifest, header));
  EXPECT_EQ(header.metadata.at("format"), "pt");
  const auto found = unwrap(find_manifest(header));
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->metadata, manifest.metadata);
  ASSERT_EQ(found->tensors.size(), 2U);
  EXPECT_EQ(found->tensors[1].name, "b");
  EXPECT_EQ(found->tensors[1].shape, (std::vector<std::uint64_t>{2, 3}));
  EXPECT_FALSE(unwrap(find_manifest(SafetensorsHeader{})).has_value());
}

/// A header whose manifest is this text, with its checksum.
SafetensorsHeader header_with_manifest(const std::string& text) {
  SafetensorsHeader header = header_with_payloads({});
  header.metadata = {{"stillbit", text}, {"stillbit.checksum", to_hex(digest(std::as_bytes(std::span(text))))}};
  return header;
}

TEST(Manifest, NestingAndUnknownMembersCostNothing) {
  const std::string deep(100'000, '[');
  const std::string closed = deep + std::string(100'000, ']');
  EXPECT_FALSE(find_manifest(header_with_manifest(R"({"version":)" + closed + "}")).ok());
  EXPECT_FALSE(find_manifest(header_with_manifest(R"({"version":2,"metadata":{},"tensors":[]})")).ok());
  EXPECT_FALSE(find_manifest(header_with_manifest("[]")).ok());
  EXPECT_FALSE(find_manifest(header_with_manifest(deep)).ok());
  const std::string unknown = R"({"version":1,"metadata":{},"tensors":[],"x":)" + closed + "}";
  EXPECT_TRUE(find_manifest(header_with_manifest(unknown)).ok());
}

std::string fault_of(const std::string& text) {
  const auto found = find_manifest(header_with_manifest(text));
  return found.ok() ? "none" : found.fault().message;
}

TEST(Manifest, MalformedOnesSayWhatIsWrong) {
  const std::string fields = R"("payload":"p","dtype":"F32","codec":"raw","packing":"packed")";
  const auto of_entry = [](const std::string& entry) {
    return fault_of(R"({"version":1,"metadata":{},"tensors":[)" + entry + "]}");
  };
  const std::pair<std::string, std::string> cases[] = {
      {fault_of(""), "not valid JSON near byte"},
      {fault_of(R"({"version":1,"metadata":{},"tensors":[]} x)"), "not valid JSON near byte"},
      {fault_of(R"({"version":1,"metadata":{},"tensors":[)"), "not valid JSON near byte"},
      {fault_of(std::string("{}\0", 3)), "not valid JSON"},
      {fault_of("\xEF\xBB\xBF{}"), "not valid JSON"},
      {fault_of("3"), "there is a number"},
      {fault_of("[]"), "there is an array"},
      {fault_of("{}"), "there is no \"version\""},
      {fault_of(R"({"version":1,"tensors":[]})"), "there is no \"metadata\""},
      {fault_of(R"({"version":1,"metadata":{}})"), "there are no \"tensors\""},
      {fault_of(R"({"version":"1","metadata":{},"tensors":[]})"), "there is a string as \"version\""},
      {fault_of(R"({"version":-1,"metadata":{},"tensors":[]})"), "there is a negative number as \"version\""},
      {fault_of(R"({"version":1,"metadata":{"a":1},"tensors":[]})"), "there is a number as \"a\""},
      {fault_of(R"({"version":1,"metadata":{"a":{"b":"c"}},"tensors":[]})"), "there is an object as \"a\""},
      {fault_of(R"({"version":1,"metadata":[],"tensors":[]})"), "there is an array as \"metadata\""},
      {fault_of(R"({"version":1,"metadata":{},"tensors":{}})"), "there is an object as \"tensors\""},
      {of_entry("null"), "there is null among the tensors"},
      {of_entry("[[1]]"), "there is an array among the tensors"},
      {of_entry("{" + fields + R"(,"shape":[1]})"), "tensor 0 has no \"name\""},
      {of_entry("{" + fields + R"(,"name":"x"})"), "tensor \"x\" has no \"shape\""},
      {of_entry(R"({"name":7,"shape":[1],)" + fields + "}"), "there is a number as \"name\" of tensor 0"},
      {of_entry(R"({"name":"x","shape":[1,-1],)" + fields + "}"), "a negative number in the shape of tensor \"x\""},
      {of_entry(R"({"name":"x","shape":[1.5],)" + fields + "}"), "there is a fraction in the shape"},
      {of_entry(R"({"name":"x","shape":[[1]],)" + fields + "}"), "there is an array in the shape"},
      {of_entry(R"({"name":"x","shape":"1",)" + fields + "}"), "there is a string as \"shape\""},
      {of_entry(R"({"name":["x"],"shape":[1],)" + fields + "}"), "there is an array as \"name\""},
  };
  for (const auto& [found, wanted] : cases) {
    EXPECT_NE(found.find("manifest is malformed: "), std::string::npos) << found;
    EXPECT_NE(found.find(wanted), std::string::npos) << found << " instead of " << wanted;
  }
}

TEST(Manifest, LaterVersionsAreNamedWhateverElseTheySay) {
  for (const std::string tensors : {"[]", "7", R"([{"shape":"none"}])"}) {
    const std::string found = fault_of(R"({"metadata":[1],"tensors":)" + tensors + R"(,"version":2})");
    EXPECT_NE(found.find("manifest version 2"), std::string::npos) << found;
  }
}

TEST(Manifest, WhatIsNotKnownIsPassedOver) {
  SafetensorsHeader header = header_with_manifest(
      R"({"x":[{"tensors":1}],"version":1,"y":null,"metadata":{"a":"b"},"tensors":[{"name":"n","z":{"name":[1,{}]},)"
      R"("payload":"p","dtype":"F32","shape":[],"shape":[2,3],"codec":"raw","packing":"packed","w":1.5,)"
      R"("prices":{"raw":9,"ibp":"?","escape":[4],"rans":-1}}]})");
  header.entries = header_with_payloads({"p"}).entries;
  const auto found = unwrap(find_manifest(header));
  ASSERT_TRUE(found.has_value());
  ASSERT_EQ(found->tensors.size(), 1U);
  EXPECT_EQ(found->tensors[0].name, "n");
  EXPECT_EQ(found->tensors[0].shape, (std::vector<std::uint64_t>{2, 3}));
  EXPECT_EQ(found->tensors[0].prices, (std::map<std::string, std::uint64_t>{{"raw", 9}}));
  EXPECT_EQ(found->metadata, (std::map<std::string, std::string>{{"a", "b"}}));
}

TEST(Manifest, ReservedKeysAreNotOverwritten) {
  SafetensorsHeader header;
  EXPECT_FALSE(attach({{{"stillbit", "mine"}}, {}}, header).ok());
}

TEST(Manifest, WhatDoesNotFitTogetherIsRefused) {
  const ManifestEntry entry{"a", "a.stillbit", "F32", {1}, "raw", "packed", {}};
  const auto fault = [](const Manifest& manifest, SafetensorsHeader header) {
    unwrap(attach(manifest, header));
    const auto result = find_manifest(header);
    return result.ok() ? std::string() : result.fault().message;
  };
  EXPECT_EQ(fault({{}, {entry}}, header_with_payloads({"a.stillbit"})), "");
  EXPECT_NE(fault({{}, {entry, entry}}, header_with_payloads({"a.stillbit"})).find("twice"), std::string::npos);
  EXPECT_NE(fault({{}, {entry}}, header_with_payloads({})).find("missing"), std::string::npos);
  EXPECT_NE(fault({{}, {entry}}, header_with_payloads({"a.stillbit", "b"})).find("no tensor"), std::string::npos);
  SafetensorsHeader typed = header_with_payloads({"a.stillbit"});
  typed.entries[0].dtype = "F32";
  EXPECT_NE(fault({{}, {entry}}, typed).find("not a payload"), std::string::npos);

  SafetensorsHeader changed = header_with_payloads({"a.stillbit"});
  unwrap(attach({{}, {entry}}, changed));
  changed.metadata["stillbit"][5] ^= 1;
  EXPECT_NE(find_manifest(changed).fault().message.find("checksum"), std::string::npos);
}

}  // namespace
}  // namespace stillbit::format
