#pragma once

/// Stillbit: lossless compression of ML tensors, row by row.

#include <stillbit/analysis.hpp>
#include <stillbit/dtype.hpp>
#include <stillbit/error.hpp>
#include <stillbit/file.hpp>
#include <stillbit/interrupt.hpp>
#include <stillbit/options.hpp>
#include <stillbit/plan.hpp>
#include <stillbit/pool.hpp>
#include <stillbit/published.hpp>
#include <stillbit/statistics.hpp>
#include <stillbit/stream.hpp>
#include <stillbit/tensor.hpp>
#include <stillbit/tiered_table.hpp>
