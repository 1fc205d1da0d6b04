#include "io/atomic_file.hpp"
#include "io/mapped_file.hpp"
#include "tests/support/temporary_folder.hpp"

#include <gtest/gtest.h>

#include <sys/stat.h>

#include <fstream>

namespace stillbit::io {
namespace {

using testing::TemporaryFolder;

Bytes bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string contents(const std::filesystem::path& path) {
  return unwrap(read_text(path));
}

void write_file(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path) << text;
}

TEST(AtomicFile, AppearsOnlyWhenCommitted) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "a";
  AtomicFile file = unwrap(AtomicFile::create(path));
  unwrap(file.set_size(5));
  unwrap(file.write(2, bytes_of("llo")));
  unwrap(file.write(0, bytes_of("he")));
  EXPECT_FALSE(std::filesystem::exists(path));
  unwrap(file.commit());
  EXPECT_EQ(contents(path), "hello");
  EXPECT_EQ(folder.num_files(), 1U);
}

TEST(AtomicFile, LeavesTheOldFileWhenNotCommitted) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "a";
  write_file(path, "old");
  {
    AtomicFile file = unwrap(AtomicFile::create(path));
    unwrap(file.write(0, bytes_of("new")));
  }
  EXPECT_EQ(contents(path), "old");
  EXPECT_EQ(folder.num_files(), 1U);
}

TEST(AtomicFile, ReplacesWithTheOldPermissions) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "a";
  write_file(path, "old");
  ::chmod(path.c_str(), 0640);
  AtomicFile file = unwrap(AtomicFile::create(path));
  unwrap(file.write(0, bytes_of("new")));
  unwrap(file.commit());
  struct stat status{};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0640U);
  EXPECT_EQ(contents(path), "new");
}

TEST(AtomicFile, ReplacesWhatALinkPointsTo) {
  const TemporaryFolder folder;
  write_file(folder.path() / "real", "old");
  std::filesystem::create_symlink(folder.path() / "real", folder.path() / "link");
  AtomicFile file = unwrap(AtomicFile::create(folder.path() / "link"));
  unwrap(file.write(0, bytes_of("new")));
  unwrap(file.commit());
  EXPECT_TRUE(std::filesystem::is_symlink(folder.path() / "link"));
  EXPECT_EQ(contents(folder.path() / "real"), "new");
}

TEST(AtomicFile, SaysWhatCannotBeWritten) {
  const TemporaryFolder folder;
  const auto missing = AtomicFile::create(folder.path() / "no" / "file");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.fault().code, ErrorCode::kIo);
  EXPECT_NE(missing.fault().message.find("no/file"), std::string::npos);
  EXPECT_FALSE(AtomicFile::create(folder.path()).ok());
}

TEST(MappedFile, ReadsAndRefuses) {
  const TemporaryFolder folder;
  write_file(folder.path() / "a", "abc");
  write_file(folder.path() / "empty", "");
  EXPECT_EQ(unwrap(MappedFile::open(folder.path() / "a")).bytes().size(), 3U);
  EXPECT_TRUE(unwrap(MappedFile::open(folder.path() / "empty")).bytes().empty());
  EXPECT_FALSE(MappedFile::open(folder.path()).ok());
  EXPECT_FALSE(MappedFile::open(folder.path() / "missing").ok());
}

}  // namespace
}  // namespace stillbit::io
