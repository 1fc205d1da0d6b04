// What floats.inl leaves to an instruction set, for AVX-512. Included inside a namespace, behind it.

inline Floats multiply_add(Floats a, Floats b, Floats c) {
  return _mm512_fmadd_ps(a, b, c);
}
inline Floats widen_f16(Shorts words, unsigned half) {
  const auto bits = reinterpret_cast<__m512i>(words);
  return _mm512_cvtph_ps(half == 0 ? _mm512_castsi512_si256(bits) : _mm512_extracti64x4_epi64(bits, 1));
}
inline Shorts narrow_f16(Floats lower, Floats upper) {
  constexpr int kNearestEven = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  const __m512i low = _mm512_castsi256_si512(_mm512_cvtps_ph(lower, kNearestEven));
  return reinterpret_cast<Shorts>(_mm512_inserti64x4(low, _mm512_cvtps_ph(upper, kNearestEven), 1));
}
