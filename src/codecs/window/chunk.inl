// What the stages of all instruction sets share: rows are worked on in chunks of kChunkWords words. Included inside a
// namespace. See RowLayout for what "placed" means.

/// The bases of the words from `first` on, which begins a chunk.
template <class Word>
inline const std::byte* bases_from(const RowLayout& layout, std::uint64_t first) {
  return layout.has_column_bases ? layout.bases + first * sizeof(Word) : layout.bases;
}

/// Words of up to a chunk, and what of them does not fit into fields.
template <class Word>
struct Chunk {
  alignas(64) Word placed[kChunkWords];          ///< fields
  alignas(64) Word exceptions[2 * kChunkWords];  ///< in order; vectors are stored whole
};
