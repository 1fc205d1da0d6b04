// The main job on data made here: three tables of the kinds that Stillbit is for are compressed, written to a file,
// mapped again, compared bit for bit, and rows of them gathered.

#include <stillbit/stillbit.hpp>

#include <cstring>
#include <iomanip>
#include <iostream>
#include <random>
#include <string>
#include <vector>

namespace {

struct Table {
  std::string name;
  stillbit::DType dtype;
  std::vector<std::uint64_t> shape;
  std::vector<std::byte> data;

  [[nodiscard]] stillbit::TensorView view() const { return {data.data(), dtype, shape}; }
};

template <class T>
std::vector<std::byte> bytes_of(const std::vector<T>& values) {
  const auto bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}

/// Node features of a citation graph: which of 1,433 words a paper uses.
Table bag_of_words() {
  std::mt19937_64 random(1);
  std::vector<float> values(20000 * 1433, 0.0F);
  for (std::size_t paper = 0; paper < 20000; ++paper) {
    for (int word = 0; word < 18; ++word) values[paper * 1433 + random() % 1433] = 1.0F;
  }
  return {"bag_of_words", stillbit::DType::kF32, {20000, 1433}, bytes_of(values)};
}

/// An embedding table of a recommender: each column with a scale of its own.
Table embedding() {
  std::mt19937_64 random(2);
  std::normal_distribution<float> normal;
  std::vector<float> values(100000 * 128);
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = normal(random) * 0.01F * static_cast<float>(1 + i % 128 % 7);
  return {"embedding", stillbit::DType::kF32, {100000, 128}, bytes_of(values)};
}

/// A weight matrix in bf16: the upper half of an f32.
Table weights() {
  std::mt19937_64 random(3);
  std::normal_distribution<float> normal(0.0F, 0.02F);
  std::vector<std::uint16_t> values(4096 * 4096);
  for (std::uint16_t& value : values) {
    const float element = normal(random);
    std::memcpy(&value, reinterpret_cast<const std::byte*>(&element) + 2, 2);
  }
  return {"weights", stillbit::DType::kBF16, {4096, 4096}, bytes_of(values)};
}

/// Gathers 1,000 random rows and compares them with the raw ones.
bool gather_is_exact(const Table& table, const stillbit::CompressedTensor& tensor) {
  std::mt19937_64 random(4);
  std::vector<std::int64_t> index(1000);
  for (std::int64_t& row : index) row = static_cast<std::int64_t>(random() % tensor.num_rows());
  std::vector<std::byte> rows(index.size() * tensor.row_bytes());
  tensor.gather(index, rows);
  for (std::size_t i = 0; i < index.size(); ++i) {
    const std::byte* raw = table.data.data() + static_cast<std::uint64_t>(index[i]) * tensor.row_bytes();
    if (std::memcmp(raw, rows.data() + i * tensor.row_bytes(), tensor.row_bytes()) != 0) return false;
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string path = argc > 1 ? argv[1] : "demo.safetensors";
  const Table tables[] = {bag_of_words(), embedding(), weights()};

  stillbit::NamedTensors compressed;
  for (const Table& table : tables) compressed.emplace_back(table.name, stillbit::compress(table.view()));
  stillbit::save(path, compressed);

  bool all_exact = true;
  std::cout << std::fixed << std::setprecision(2);
  for (const auto& [name, tensor] : stillbit::load(path)) {
    const Table* table = tables;
    while (table->name != name) ++table;
    std::vector<std::byte> back(tensor.raw_bytes());
    tensor.decompress(back);
    const bool exact = back == table->data && gather_is_exact(*table, tensor);
    all_exact = all_exact && exact;
    std::cout << std::left << std::setw(14) << name << std::right << std::setw(8)
              << static_cast<double>(tensor.raw_bytes()) / 1e6 << " MB -> " << std::setw(7)
              << static_cast<double>(tensor.stored_bytes()) / 1e6 << " MB   ratio " << std::setw(6) << tensor.ratio()
              << "   transfer ratio " << std::setw(6) << tensor.transfer_ratio() << "   "
              << (exact ? "every bit the same, 1000 rows gathered" : "NOT EXACT") << '\n';
  }
  return all_exact ? 0 : 1;
}
