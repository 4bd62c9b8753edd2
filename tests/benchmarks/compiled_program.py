"""The text of a compiled program with a loop, collectives and a dense product."""

PROGRAM = """
HloModule jit_step, is_scheduled=true

%add (x: f32[], y: f32[]) -> f32[] {
  ROOT %sum = f32[] add(%x, %y)
}

%body (state: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {
  %left = f32[4,6]{1,0} parameter(0)
  %right = bf16[6,8]{1,0} parameter(1)
  %dot.1 = f32[4,8]{1,0} dot(%left, %right), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  %all-reduce.1 = (f32[4,8]{1,0}, f32[]) all-reduce(%a), replica_groups=[2,2]<=[4], metadata={op_name="jit(step)/while"}
}

%condition (state: (s32[], f32[4,8])) -> pred[] {
  ROOT %less = pred[] compare(%i, %n), direction=LT
}

ENTRY %main (p0: f32[4,8]) -> f32[16,8] {
  %loop = (s32[], f32[4,8]) while(%s), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"3"}}
  %gathered = bf16[16,8]{1,0} all-gather(%part), replica_groups={{0,1,2,3}}, dimensions={0}
  ROOT %moved = f32[16,8]{1,0} collective-permute(%gathered), source_target_pairs={{0,1},{1,0}}
}
"""
