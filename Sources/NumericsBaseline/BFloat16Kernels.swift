import CVector

// Float arrays that are kept in bfloat16, two values to a word, in order.

/// Floats in a vector.
private let lanes = 16

/// Rounds each value to bfloat16 (to nearest, ties to even), in place; the values stay float32.
package func roundToBFloat16(_ count: Int, _ values: UnsafeMutablePointer<Float>) {
    var index = 0
    while index + lanes <= count {
        v_store(values + index, v_rounded_bfloat16(v_load(values + index)))
        index += lanes
    }
    if index < count {
        storePart(values + index, v_rounded_bfloat16(loadPart(values + index, count - index)), count - index)
    }
}

/// Makes float32 of `count` bfloat16 values.
package func expandBFloat16(_ count: Int, _ words: UnsafePointer<Float>, _ values: UnsafeMutablePointer<Float>) {
    var index = 0
    while index + lanes <= count {
        v_store(values + index, v_load_bfloat16(words + index / 2))
        index += lanes
    }
    while index < count {
        let bits = (words + index / 2).pointee.bitPattern
        values[index] = Float(bitPattern: index % 2 == 0 ? bits << 16 : bits & 0xffff_0000)
        index += 1
    }
}
